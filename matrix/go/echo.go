package main

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Sockets are the WebSockets that are open, and whether they were told that the server leaves.
type Sockets struct {
	mutex   sync.Mutex
	open    map[*websocket.Conn]struct{}
	leaving bool
}

var goingAway = websocket.FormatCloseMessage(websocket.CloseGoingAway, "")

// Serve echoes what it is told.
func (sockets *Sockets) Serve(w http.ResponseWriter, r *http.Request) {
	var upgrader websocket.Upgrader
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	sockets.enter(socket)
	defer sockets.exit(socket)
	for {
		kind, message, err := socket.ReadMessage()
		if err != nil || socket.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func (sockets *Sockets) enter(socket *websocket.Conn) {
	sockets.mutex.Lock()
	defer sockets.mutex.Unlock()
	if sockets.open == nil {
		sockets.open = make(map[*websocket.Conn]struct{})
	}
	sockets.open[socket] = struct{}{}
	if sockets.leaving {
		go farewell(socket)
	}
}

func (sockets *Sockets) exit(socket *websocket.Conn) {
	sockets.mutex.Lock()
	defer sockets.mutex.Unlock()
	delete(sockets.open, socket)
}

// Leave sends a Close to all, which may be done beside another writer.
func (sockets *Sockets) Leave() {
	sockets.mutex.Lock()
	defer sockets.mutex.Unlock()
	sockets.leaving = true
	for socket := range sockets.open {
		go farewell(socket)
	}
}

func farewell(socket *websocket.Conn) {
	_ = socket.WriteControl(websocket.CloseMessage, goingAway, time.Now().Add(time.Second))
}

// Wait returns when no socket is open any more; it looks now and then, as Shutdown does.
func (sockets *Sockets) Wait(limit context.Context) error {
	for sockets.count() > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit.Done():
			return limit.Err()
		}
	}
	return nil
}

func (sockets *Sockets) count() int {
	sockets.mutex.Lock()
	defer sockets.mutex.Unlock()
	return len(sockets.open)
}
