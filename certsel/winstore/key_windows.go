package winstore

import (
	"crypto"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	ncrypt             = windows.NewLazySystemDLL("ncrypt.dll")
	procNCryptSignHash = ncrypt.NewProc("NCryptSignHash")

	advapi32              = windows.NewLazySystemDLL("advapi32.dll")
	procCryptCreateHash   = advapi32.NewProc("CryptCreateHash")
	procCryptSetHashParam = advapi32.NewProc("CryptSetHashParam")
	procCryptSignHash     = advapi32.NewProc("CryptSignHashW")
	procCryptDestroyHash  = advapi32.NewProc("CryptDestroyHash")
)

// What golang.org/x/sys/windows has no names for (bcrypt.h, ncrypt.h, wincrypt.h).
const (
	bcryptPadPKCS1   = 2
	bcryptPadPSS     = 8
	ncryptSilentFlag = 0x40

	hpHashVal     = 2
	atKeyExchange = 1
	atSignature   = 2
)

// hashes are the names of hashes: for CNG, and for CryptoAPI. MD5 and SHA-1 together,
// which TLS 1.0 signs, have none in CNG: nothing says there which hash it is.
var hashes = map[crypto.Hash]struct {
	name *uint16
	id   uint32
}{
	crypto.MD5SHA1: {nil, 0x8008},
	crypto.SHA1:    {windows.StringToUTF16Ptr("SHA1"), 0x8004},
	crypto.SHA256:  {windows.StringToUTF16Ptr("SHA256"), 0x800c},
	crypto.SHA384:  {windows.StringToUTF16Ptr("SHA384"), 0x800d},
	crypto.SHA512:  {windows.StringToUTF16Ptr("SHA512"), 0x800e},
}

// openKey opens the private key of a certificate, which it takes over. Windows keeps the
// handle of the key with the certificate's.
func openKey(cert *windows.CertContext) (Key, error) {
	var (
		key  windows.Handle
		spec uint32
		free bool
	)
	err := windows.CryptAcquireCertificatePrivateKey(cert,
		windows.CRYPT_ACQUIRE_CACHE_FLAG|windows.CRYPT_ACQUIRE_SILENT_FLAG|windows.CRYPT_ACQUIRE_PREFER_NCRYPT_KEY_FLAG,
		nil, &key, &spec, &free)
	if err != nil {
		_ = windows.CertFreeCertificateContext(cert)
		return nil, err
	}
	h := &handle{cert: cert, key: key}
	runtime.AddCleanup(h, func(cert *windows.CertContext) { _ = windows.CertFreeCertificateContext(cert) }, cert)
	if spec == windows.CERT_NCRYPT_KEY_SPEC {
		return &cngKey{h}, nil
	}
	if newer := reopened(cert); newer != 0 {
		h.key = newer
		runtime.AddCleanup(h, func(key windows.Handle) { _ = windows.CryptReleaseContext(key, 0) }, newer)
	}
	if spec != atSignature {
		spec = atKeyExchange // the other one that there is
	}
	return &capiKey{handle: h, spec: spec}, nil
}

// keyProvInfo is CRYPT_KEY_PROV_INFO.
type keyProvInfo struct {
	container, provider *uint16
	kind, flags         uint32
	_                   uint32
	_                   uintptr
	spec                uint32
}

// The provider of Windows that knows SHA-256, and the keys of its older ones.
const (
	newProvider     = "Microsoft Enhanced RSA and AES Cryptographic Provider"
	newProviderType = 24
)

// keyInfo returns what a certificate says about its key, nil if it says nothing. What its
// pointers point at is in the same piece of memory.
func keyInfo(cert *windows.CertContext) *keyProvInfo {
	data := property(cert, certKeyProvInfoPropID)
	if len(data) < int(unsafe.Sizeof(keyProvInfo{})) {
		return nil
	}
	return (*keyProvInfo)(unsafe.Pointer(&data[0]))
}

// name is that of the key.
func (i *keyProvInfo) name() string {
	return windows.UTF16PtrToString(i.provider) + ": " + windows.UTF16PtrToString(i.container)
}

// reopened opens the key of a certificate in the provider of Windows that knows the hashes
// of TLS 1.2, if it is in an older one of Windows; else it is 0.
func reopened(cert *windows.CertContext) (key windows.Handle) {
	info := keyInfo(cert)
	if info == nil || info.kind == newProviderType || !strings.HasPrefix(windows.UTF16PtrToString(info.provider), "Microsoft ") {
		return 0
	}
	provider, err := windows.UTF16PtrFromString(newProvider)
	if err != nil || windows.CryptAcquireContext(&key, info.container, provider, newProviderType,
		info.flags&windows.CRYPT_MACHINE_KEYSET|windows.CRYPT_SILENT) != nil {
		return 0
	}
	return key
}

// handle is a key that stays open as long as somebody has it.
type handle struct {
	cert *windows.CertContext
	key  windows.Handle
}

// cngKey is a key of a key storage provider.
type cngKey struct{ handle *handle }

// pkcs1Info is BCRYPT_PKCS1_PADDING_INFO.
type pkcs1Info struct{ hash *uint16 }

// pssInfo is BCRYPT_PSS_PADDING_INFO.
type pssInfo struct {
	hash *uint16
	salt uint32
}

// Sign implements Key.
func (k *cngKey) Sign(digest []byte, how Padding) ([]byte, error) {
	hash, ok := hashes[how.Hash]
	if !ok {
		return nil, fmt.Errorf("hash %s: %w", how.Hash, errors.ErrUnsupported)
	}
	var (
		info  unsafe.Pointer
		flags uintptr = ncryptSilentFlag
	)
	switch how.Scheme {
	case PKCS1v15:
		info, flags = unsafe.Pointer(&pkcs1Info{hash.name}), flags|bcryptPadPKCS1
	case PSS:
		info, flags = unsafe.Pointer(&pssInfo{hash.name, uint32(how.Salt)}), flags|bcryptPadPSS
	case ECDSA: // has no padding
	}
	var size uint32
	call := func(out unsafe.Pointer, room int) error {
		status, _, _ := procNCryptSignHash.Call(uintptr(k.handle.key), uintptr(info), uintptr(unsafe.Pointer(&digest[0])), uintptr(len(digest)),
			uintptr(out), uintptr(room), uintptr(unsafe.Pointer(&size)), flags)
		if uint32(status) != 0 {
			return syscall.Errno(uint32(status))
		}
		return nil
	}
	err := call(nil, 0)
	var sig []byte
	if err == nil && size > 0 {
		sig = make([]byte, size)
		err = call(unsafe.Pointer(&sig[0]), len(sig))
	}
	runtime.KeepAlive(info)
	runtime.KeepAlive(k.handle)
	switch {
	case err != nil && how.Scheme == PSS && notSupported(err):
		return nil, fmt.Errorf("%w: %w", ErrNoPSS, err)
	case err != nil:
		return nil, fmt.Errorf("NCryptSignHash: %w", err)
	}
	return sig[:size], nil
}

// notSupported reports whether a provider has said that it knows no such thing: among
// others, those of older smart cards and security modules do not know PSS.
func notSupported(err error) bool {
	for _, code := range []windows.Handle{windows.NTE_NOT_SUPPORTED, windows.NTE_BAD_FLAGS, windows.NTE_INVALID_PARAMETER, windows.NTE_BAD_ALGID} {
		if errors.Is(err, syscall.Errno(code)) {
			return true
		}
	}
	return false
}

// capiKey is a key of a cryptographic service provider, of which those are left that CNG
// cannot open. They know neither PSS nor ECDSA.
type capiKey struct {
	handle *handle
	spec   uint32
	mu     sync.Mutex // not all providers can do two things at a time
}

// Sign implements Key.
func (k *capiKey) Sign(digest []byte, how Padding) ([]byte, error) {
	switch how.Scheme {
	case PSS:
		return nil, ErrNoPSS
	case ECDSA:
		return nil, fmt.Errorf("ECDSA with a key of CryptoAPI: %w", errors.ErrUnsupported)
	case PKCS1v15:
	}
	hash, ok := hashes[how.Hash]
	if !ok {
		return nil, fmt.Errorf("hash %s: %w", how.Hash, errors.ErrUnsupported)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	defer runtime.KeepAlive(k.handle)
	var h windows.Handle
	if ok, _, err := procCryptCreateHash.Call(uintptr(k.handle.key), uintptr(hash.id), 0, 0, uintptr(unsafe.Pointer(&h))); ok == 0 {
		return nil, fmt.Errorf("CryptCreateHash: %w", err)
	}
	defer func() { _, _, _ = procCryptDestroyHash.Call(uintptr(h)) }()
	if ok, _, err := procCryptSetHashParam.Call(uintptr(h), hpHashVal, uintptr(unsafe.Pointer(&digest[0])), 0); ok == 0 {
		return nil, fmt.Errorf("CryptSetHashParam: %w", err)
	}
	var size uint32
	if ok, _, err := procCryptSignHash.Call(uintptr(h), uintptr(k.spec), 0, 0, 0, uintptr(unsafe.Pointer(&size))); ok == 0 {
		return nil, fmt.Errorf("CryptSignHash: %w", err)
	}
	sig := make([]byte, max(size, 1))
	if ok, _, err := procCryptSignHash.Call(uintptr(h), uintptr(k.spec), 0, 0, uintptr(unsafe.Pointer(&sig[0])), uintptr(unsafe.Pointer(&size))); ok == 0 {
		return nil, fmt.Errorf("CryptSignHash: %w", err)
	}
	sig = sig[:size]
	slices.Reverse(sig) // CryptoAPI has the last byte first
	return sig, nil
}
