// Takes part in the shutdown of a service, with Go's standard library.
//
//	go run participant.go SOCKET NAME
//
// SOCKET is the service's control socket, as in `lameduck demo --control SOCKET`.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// What we are told; each kind of message uses some of the fields.
type message struct {
	Type    string `json:"type"`
	Session string `json:"session"`
	ID      string `json:"id"`
	Wish    *int64 `json:"wish"`
	ByMS    int64  `json:"by_ms"`
	State   string `json:"state"`
}

// What we say.
type fields map[string]any

type participant struct {
	client  http.Client
	session string
	closing bool
	done    bool
}

func (p *participant) post(path string, said fields) (*http.Response, error) {
	body, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	return p.client.Post("http://control"+path, "application/json", bytes.NewReader(body))
}

func (p *participant) say(said fields) error {
	answer, err := p.post("/v1/sessions/"+p.session, said)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// From hello to over; the connection of this one answer is our life in the service.
func (p *participant) takePart(name string) (string, error) {
	p.closing, p.done = false, false
	answer, err := p.post("/v1/participants", fields{"name": name, "budget_ms": 500})
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", errors.New("refused: " + answer.Status)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue
		}
		var told message
		if err := json.Unmarshal([]byte(data), &told); err != nil {
			return "", err
		}
		switch told.Type {
		case "hello":
			p.session = told.Session
			err = p.say(fields{"type": "ready"})
			fmt.Println("joined")
		case "shutdown_request":
			err = p.say(fields{"type": "ack", "id": told.ID})
		case "close":
			p.closing = true
			err = p.say(fields{"type": "need_more", "id": told.ID, "wish": 1, "by_ms": 2000, "why": "three batches are left"})
		case "granted":
			fmt.Println("granted", told.ByMS, "ms")
			// An operator may give time too, at any moment: only the answer to our wish lets us go on.
			if told.Wish != nil && *told.Wish == 1 && p.closing && !p.done {
				err = p.finish(told.ID)
			}
		case "over":
			return told.State, nil
		}
		if err != nil {
			return "", err
		}
	}
	if p.done {
		// It took our word, and left.
		return "done", nil
	}
	return "", errors.New("the stream ended without a last word")
}

// Whatever must be done before we may go: here three batches.
func (p *participant) finish(id string) error {
	for batch := 1; batch <= 3; batch++ {
		time.Sleep(200 * time.Millisecond)
		note := fmt.Sprintf("batch %d", batch)
		if err := p.say(fields{"type": "working", "id": id, "done": batch, "total": 3, "note": note}); err != nil {
			return err
		}
	}
	p.done = true
	// The service may leave before it has answered.
	_ = p.say(fields{"type": "done", "id": id, "figures": fields{"batches": 3}})
	return nil
}

func main() {
	socket, name := os.Args[1], os.Args[2]
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	p := participant{client: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 15*time.Second) {
		began := time.Now()
		state, err := p.takePart(name)
		if err == nil {
			fmt.Println("over:", state)
			return
		}
		fmt.Fprintln(os.Stderr, "lost:", err)
		// After a session that lasted it is another loss, not the same one again.
		if time.Since(began) > 15*time.Second {
			pause = 500 * time.Millisecond
		}
		time.Sleep(pause)
	}
}
