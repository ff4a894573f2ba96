//! WS-05: WebSockets over HTTP/2 extended CONNECT (RFC 8441), through axum and through a plain upgrade.
