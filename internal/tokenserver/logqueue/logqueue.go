// SPDX-License-Identifier: Apache-2.0

// Package logqueue takes log lines from many requests and writes them in as few
// writes as it can: a request logs two lines, and a write each would cost it more
// than its answer does.
//
// An output that is slow slows its writers down, so that no line is lost. One that
// takes nothing at all for some seconds, as a pipe that nobody reads any more, must
// not take the server with it: from then on lines are dropped. They are counted, as
// those are that could not be written, and the next that can be tells how many.
package logqueue

import (
	"bytes"
	"io"
	"runtime"
	"sync"
	"time"
)

const (
	// limit is how many bytes wait at most. Whoever writes more waits, as for any
	// output that is slow.
	limit = 1 << 20
	// maxLine is how long a line may be; what is longer is cut.
	maxLine = 64 << 10
	// patience is for how long an output may take nothing before lines are dropped,
	// and for how long Close waits for it.
	patience = 5 * time.Second
)

// Writer passes on what is written to it, in order and soon: at once when nothing
// is under way, else together with all that came meanwhile. A process that is
// killed loses what it had just written; one that ends calls Close.
type Writer struct {
	out     io.Writer
	lost    func(lines int) []byte
	mu      sync.Mutex
	changed sync.Cond
	waiting []byte
	// stuck tells that the output took nothing for patience while lines waited.
	stuck bool
	// dropped counts the lines that are lost and not told of.
	dropped int
	// closed: nothing more is queued; ended: nor is anything left.
	closed, ended bool
	// working is the alarm that goes off when one write takes too long.
	working *time.Timer
	err     error
	waits   uint64
	gone    uint64
}

// Stats are what has become of lines since the start.
type Stats struct {
	// Waiting is how many bytes are not written yet.
	Waiting int
	// Waits is how often somebody had to wait for room.
	Waits uint64
	// Lost is how many lines could not be written.
	Lost uint64
}

// Stats returns them. It never waits for the output.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Stats{Waiting: len(w.waiting), Waits: w.waits, Lost: w.gone}
}

// New returns a Writer to out, which nothing else should write to. lost makes the
// line that tells how many were lost.
func New(out io.Writer, lost func(lines int) []byte) *Writer {
	w := &Writer{out: out, lost: lost}
	w.changed.L = &w.mu
	go w.run()
	return w
}

// Write implements io.Writer for one line. The error, if any, is that of the latest
// line that was tried to be written. After Close it writes directly.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) > limit && !w.stuck && !w.closed {
		w.waits++
	}
	for len(w.waiting) > limit && !w.stuck && !w.closed {
		w.changed.Wait()
	}
	if w.closed {
		w.finish() // with what came before
	}
	switch {
	case w.stuck && (w.closed || len(w.waiting) > limit):
		w.dropped++
		w.gone++
		return len(line), w.err
	case w.closed:
		_, err := w.out.Write(cut(line))
		return len(line), err
	case len(w.waiting) == 0:
		w.changed.Broadcast()
	}
	w.waiting = append(w.waiting, cut(line)...)
	return len(line), w.err
}

// cut keeps a line short enough that a few cannot fill the queue.
func cut(line []byte) []byte {
	const mark = "… (cut)\n"
	if len(line) <= maxLine {
		return line
	}
	return append(line[:maxLine-len(mark):maxLine-len(mark)], mark...)
}

// Close writes what waits and returns when it is written, or when the output has
// taken nothing for too long.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.finish()
	w.mu.Unlock()
}

// finish is called with mu held, and waits until all is written or stuck.
func (w *Writer) finish() {
	for !w.stuck && !w.ended {
		w.changed.Wait()
	}
}

func (w *Writer) run() {
	defer w.end()
	var batch []byte
	for w.wait() {
		// Whoever else can run goes first, and may have a line of its own.
		runtime.Gosched()
		batch = w.swap(batch)
		n, err := w.out.Write(batch)
		w.wrote(bytes.Count(batch[min(n, len(batch)):], []byte("\n")), err)
	}
}

func (w *Writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.changed.Broadcast()
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
	if w.working == nil {
		w.working = time.AfterFunc(patience, w.hangs)
	} else {
		w.working.Reset(patience)
	}
	return batch
}

// hangs is called while a write has taken too long.
func (w *Writer) hangs() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck = true
	w.changed.Broadcast()
}

// wrote is called after each write. Of lines that were lost it tells only when one
// could be written.
func (w *Writer) wrote(lost int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.working.Stop()
	w.stuck, w.err = false, err
	w.gone += uint64(lost)
	if w.dropped += lost; w.dropped > 0 && err == nil {
		w.waiting = append(w.waiting, w.lost(w.dropped)...)
		w.dropped = 0
	}
	w.changed.Broadcast()
}
