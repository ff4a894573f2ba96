module matrix

go 1.24

require github.com/gorilla/websocket v1.5.0

// Debian's package golang-github-gorilla-websocket-dev.
replace github.com/gorilla/websocket => /usr/share/gocode/src/github.com/gorilla/websocket
