package winstore

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Open returns the machine that this program runs on.
func Open() (Machine, error) { return location(windows.CERT_SYSTEM_STORE_LOCAL_MACHINE), nil }

// location is where stores are: those of the machine, or of a user.
type location uint32

var (
	crypt32                               = windows.NewLazySystemDLL("crypt32.dll")
	procCertControlStore                  = crypt32.NewProc("CertControlStore")
	procCertGetCertificateContextProperty = crypt32.NewProc("CertGetCertificateContextProperty")
)

// What golang.org/x/sys/windows has no names for (wincrypt.h).
const (
	certKeyProvInfoPropID  = 2
	certKeyContextPropID   = 5
	certFriendlyNamePropID = 11

	certStoreCtrlResync       = 1
	certStoreCtrlNotifyChange = 2
)

// The result codes that say that there is nothing.
const (
	errCryptNotFound = syscall.Errno(windows.CRYPT_E_NOT_FOUND)
	errNoMoreFiles   = windows.ERROR_NO_MORE_FILES
)

// open opens a store, which is not made if it is not there.
func (l location) open(store string) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(store)
	if err != nil {
		return 0, err
	}
	h, err := windows.CertOpenStore(windows.CERT_STORE_PROV_SYSTEM, 0, 0,
		uint32(l)|windows.CERT_STORE_READONLY_FLAG|windows.CERT_STORE_OPEN_EXISTING_FLAG, uintptr(unsafe.Pointer(name)))
	runtime.KeepAlive(name)
	return h, err
}

// List implements Machine.
func (l location) List(store string) (items []Item, err error) {
	h, err := l.open(store)
	if err != nil {
		return nil, err
	}
	defer func() { _ = windows.CertCloseStore(h, 0) }()
	var cert *windows.CertContext
	for {
		// It frees the one before.
		if cert, err = windows.CertEnumCertificatesInStore(h, cert); cert == nil {
			break
		}
		item := Item{DER: encoded(cert), FriendlyName: text(property(cert, certFriendlyNamePropID))}
		if info := keyInfo(cert); info != nil {
			item.HasKey, item.KeyName = true, info.name()
		} else {
			item.HasKey = property(cert, certKeyContextPropID) != nil
		}
		items = append(items, item)
	}
	if err != nil && !errors.Is(err, errCryptNotFound) && !errors.Is(err, errNoMoreFiles) {
		return nil, err
	}
	return items, nil
}

func encoded(cert *windows.CertContext) []byte {
	return slices.Clone(unsafe.Slice(cert.EncodedCert, cert.Length))
}

// property returns a property of a certificate, nil if it has not got it.
func property(cert *windows.CertContext, id uint32) []byte {
	var size uint32
	ok, _, _ := procCertGetCertificateContextProperty.Call(uintptr(unsafe.Pointer(cert)), uintptr(id), 0, uintptr(unsafe.Pointer(&size)))
	if ok == 0 || size == 0 {
		return nil
	}
	data := make([]byte, size)
	ok, _, _ = procCertGetCertificateContextProperty.Call(uintptr(unsafe.Pointer(cert)), uintptr(id), uintptr(unsafe.Pointer(&data[0])), uintptr(unsafe.Pointer(&size)))
	if ok == 0 || int(size) > len(data) {
		return nil
	}
	return data[:size]
}

// text reads UTF-16 that ends with a zero.
func text(data []byte) string {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = uint16(data[2*i]) | uint16(data[2*i+1])<<8
	}
	return windows.UTF16ToString(units)
}

// Key implements Machine.
func (l location) Key(store string, der []byte) (Key, error) {
	h, err := l.open(store)
	if err != nil {
		return nil, err
	}
	defer func() { _ = windows.CertCloseStore(h, 0) }()
	sum := sha1.Sum(der) // Windows names certificates by it
	blob := windows.CryptHashBlob{Size: uint32(len(sum)), Data: &sum[0]}
	cert, err := windows.CertFindCertificateInStore(h, windows.X509_ASN_ENCODING|windows.PKCS_7_ASN_ENCODING, 0,
		windows.CERT_FIND_SHA1_HASH, unsafe.Pointer(&blob), nil)
	if err != nil {
		return nil, fmt.Errorf("finding the certificate again: %w", err)
	}
	return openKey(cert)
}

// Notify implements Machine.
func (l location) Notify(store string, changed func()) (stop func(), err error) {
	h, err := l.open(store)
	if err != nil {
		return nil, err
	}
	event, err := windows.CreateEvent(nil, 0, 0, nil)
	if err != nil {
		_ = windows.CertCloseStore(h, 0)
		return nil, err
	}
	end, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		_, _ = windows.CloseHandle(event), windows.CertCloseStore(h, 0)
		return nil, err
	}
	if err := control(h, certStoreCtrlNotifyChange, &event); err != nil {
		_, _, _ = windows.CertCloseStore(h, 0), windows.CloseHandle(event), windows.CloseHandle(end)
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The other handle is closed by whoever stops: when this ends by itself, its
		// number would soon be that of something else.
		defer func() { _, _ = windows.CertCloseStore(h, 0), windows.CloseHandle(event) }()
		for {
			which, err := windows.WaitForMultipleObjects([]windows.Handle{event, end}, false, windows.INFINITE)
			if err != nil || which != windows.WAIT_OBJECT_0 {
				return
			}
			// It also asks to be told of the next change.
			if control(h, certStoreCtrlResync, &event) != nil {
				return
			}
			changed()
		}
	}()
	return sync.OnceFunc(func() {
		_ = windows.SetEvent(end)
		<-done
		_ = windows.CloseHandle(end)
	}), nil
}

func control(store windows.Handle, what uint32, event *windows.Handle) error {
	if ok, _, err := procCertControlStore.Call(uintptr(store), 0, uintptr(what), uintptr(unsafe.Pointer(event))); ok == 0 {
		return err
	}
	return nil
}

// Interface guard
var _ Machine = location(0)
