/* Programs of Go ask ProcessPrng of bcryptprimitives.dll for randomness, which wine 8
 * has not got. */
#include <windows.h>

/* RtlGenRandom has this name in advapi32.dll. */
BOOLEAN WINAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
	while (length > 0) {
		ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
		if (!SystemFunction036(data, part))
			return FALSE;
		data += part;
		length -= part;
	}
	return TRUE;
}
