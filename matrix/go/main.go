// A small application on Go's net/http; its WebSocket is that of gorilla/websocket (`echo.go`). It is a server of the matrix itself, and stands behind
// the proxies of it (which are what is judged then: this one stays up).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// From the signal to giving up; the matrix kills after 6 s.
const patience = 4 * time.Second

func number(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

func millis(r *http.Request, otherwise int) time.Duration {
	return time.Duration(number(r, "ms", otherwise)) * time.Millisecond
}

func slow(w http.ResponseWriter, r *http.Request) {
	time.Sleep(millis(r, 1000))
	fmt.Fprintln(w, "slow")
}

func large(w http.ResponseWriter, r *http.Request) {
	left := number(r, "bytes", 1<<20)
	w.Header().Set("Content-Length", strconv.Itoa(left))
	piece := []byte(strings.Repeat("x", 64*1024))
	for left > 0 {
		n, err := w.Write(piece[:min(left, len(piece))])
		if err != nil {
			return
		}
		left -= n
	}
}

func stream(w http.ResponseWriter, r *http.Request) {
	for i := 1; i <= number(r, "chunks", 10); i++ {
		if i > 1 {
			time.Sleep(millis(r, 100))
		}
		fmt.Fprintf(w, "chunk %d\n", i)
		w.(http.Flusher).Flush()
	}
}

func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := 1; r.Context().Err() == nil; i++ {
		fmt.Fprintf(w, "id: %d\ndata: %d\n\n", i, i)
		w.(http.Flusher).Flush()
		time.Sleep(millis(r, 100))
	}
}

func upload(w http.ResponseWriter, r *http.Request) {
	count, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, "cut", http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, count)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, "cut", http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

// A socket in the file system is how proxies reach it: also those in a network namespace of their own (check A4).
func open(where string) (net.Listener, error) {
	path, unix := strings.CutPrefix(where, "unix:")
	if !unix {
		return net.Listen("tcp", where)
	}
	_ = os.Remove(path)
	door, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o666) // workers of a proxy are somebody else
	}
	return door, err
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "where to answer HTTP/1.1 and HTTP/2 in plain text; unix:PATH is a socket in the file system")
	tlsListen := flag.String("tls-listen", "", "where to answer TLS")
	cert := flag.String("cert", "", "its certificate")
	key := flag.String("key", "", "its key")
	flag.Parse()

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/slow", slow)
	mux.HandleFunc("/large", large)
	mux.HandleFunc("/stream", stream)
	mux.HandleFunc("/sse", events)
	mux.HandleFunc("/upload", upload)
	var sockets Sockets
	mux.HandleFunc("/ws", sockets.Serve)

	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	quiet := log.New(io.Discard, "", 0)
	plain := &http.Server{Addr: *listen, Handler: mux, Protocols: &protocols, ErrorLog: quiet}
	secure := &http.Server{Addr: *tlsListen, Handler: mux, Protocols: &protocols, ErrorLog: quiet}

	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	failed := make(chan error, 2)
	serve := func(serve func() error) {
		if err := serve(); err != http.ErrServerClosed {
			failed <- err
		}
	}
	door, err := open(*listen)
	if err != nil {
		log.Fatal(err)
	}
	go serve(func() error { return plain.Serve(door) })
	if *tlsListen != "" {
		go serve(func() error { return secure.ListenAndServeTLS(*cert, *key) })
	}
	select {
	case err := <-failed:
		log.Fatal(err)
	case <-told.Done():
	}

	// Shutdown knows nothing of connections that were upgraded: its documentation has their owner tell them, and wait.
	plain.RegisterOnShutdown(sockets.Leave)
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan error, 3)
	go func() { ended <- plain.Shutdown(limit) }()
	go func() { ended <- secure.Shutdown(limit) }()
	go func() { ended <- sockets.Wait(limit) }()
	code := 0
	for range 3 {
		if err := <-ended; err != nil {
			code = 1
		}
	}
	if code != 0 {
		_ = plain.Close()
		_ = secure.Close()
	}
	os.Exit(code)
}
