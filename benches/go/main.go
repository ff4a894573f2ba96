// How long it takes a context to tell many goroutines that it is cancelled. Prints nanoseconds: the call, until the last
// goroutine has run, and the bytes that were allocated meanwhile.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go-context WAITERS")
	}
	waiters, err := strconv.Atoi(os.Args[1])
	if err != nil || waiters < 1 {
		log.Fatal("how many?")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var waiting atomic.Int64
	var told sync.WaitGroup
	told.Add(waiters)
	for range waiters {
		go func() {
			waiting.Add(1)
			<-ctx.Done()
			told.Done()
		}()
	}
	for waiting.Load() < int64(waiters) {
		runtime.Gosched()
	}
	// Those that counted themselves may not be parked yet.
	time.Sleep(200 * time.Millisecond)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	cancel()
	call := time.Since(start)
	told.Wait()
	all := time.Since(start)
	runtime.ReadMemStats(&after)
	fmt.Println(call.Nanoseconds(), all.Nanoseconds(), after.TotalAlloc-before.TotalAlloc)
}
