package files

import "runtime"

// maxNotified is how many folders the operating system is asked to notify of,
// zero for none. Each costs something that all programs of a user share on
// Linux, and 64 KiB on Windows. The BSDs and macOS would open every file in
// the folder.
var maxNotified = map[string]int{"linux": 1024, "windows": 64}[runtime.GOOS]
