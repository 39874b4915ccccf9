package caddyiis

// CanonicalDocument is the form in which a row is kept.
func CanonicalDocument(raw []byte) ([]byte, error) { return canonicalDocument(raw) }

// MergePatch applies a patch to a row.
func MergePatch(document, patch []byte) ([]byte, error) { return mergePatch(document, patch) }
