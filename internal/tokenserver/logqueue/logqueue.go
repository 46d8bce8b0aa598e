// SPDX-License-Identifier: Apache-2.0

// Package logqueue takes log lines from many requests and writes them in as few
// writes as it can: a request logs two lines, and a write each would cost it more
// than its answer does.
package logqueue

import (
	"io"
	"runtime"
	"sync"
)

// limit is how many bytes wait at most. Whoever writes more waits, as for any
// output that is slow.
const limit = 1 << 20

// Writer passes on what is written to it, in order and soon: at once when nothing
// is under way, else together with all that came meanwhile. A process that is
// killed loses what it had just written; one that ends calls Close.
type Writer struct {
	out     io.Writer
	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	closed  bool
	done    chan struct{}
	err     error
	waits   uint64
	errors  uint64
}

// Stats are what has become of lines since the start.
type Stats struct {
	// Waiting is how many bytes are not written yet.
	Waiting int
	// Waits is how often somebody had to wait for room.
	Waits uint64
	// Errors is how many writes the output refused; their lines are lost.
	Errors uint64
}

// Stats returns them. It never waits for the output.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Stats{Waiting: len(w.waiting), Waits: w.waits, Errors: w.errors}
}

// New returns a Writer to out, which nothing else should write to.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, done: make(chan struct{})}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write implements io.Writer. The error, if any, is that of an earlier line. After
// Close it writes directly.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) > limit && !w.closed {
		w.waits++
	}
	for len(w.waiting) > limit && !w.closed {
		w.changed.Wait()
	}
	if w.closed {
		w.mu.Unlock() // which the last lines need
		<-w.done
		w.mu.Lock()
		return w.out.Write(line)
	}
	if len(w.waiting) == 0 {
		w.changed.Broadcast()
	}
	w.waiting = append(w.waiting, line...)
	return len(line), w.err
}

// Close writes what waits and returns when it is written.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	<-w.done
}

func (w *Writer) run() {
	defer close(w.done)
	var batch []byte
	for w.wait() {
		// Whoever else can run goes first, and may have a line of its own.
		runtime.Gosched()
		batch = w.swap(batch)
		if _, err := w.out.Write(batch); err != nil {
			w.fail(err)
		}
	}
}

// wait returns when there is something to write; false: there never will be.
func (w *Writer) wait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) == 0 && !w.closed {
		w.changed.Wait()
	}
	return len(w.waiting) > 0
}

// swap takes what waits and leaves written, which no longer matters, to be filled.
func (w *Writer) swap(written []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := w.waiting
	w.waiting = written[:0]
	w.changed.Broadcast()
	return batch
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.errors++
}
