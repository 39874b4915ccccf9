package caddyiis

// DefaultDrain is how long a stop waits for requests unless configured.
const DefaultDrain = defaultDrain
