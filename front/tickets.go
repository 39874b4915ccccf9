package front

import "crypto/tls"

// TicketKeys returns the configuration whose session ticket keys outlive
// States. It is for the EncryptTicket and DecryptTicket methods only.
func (m *Manager) TicketKeys() *tls.Config { return m.tls }
