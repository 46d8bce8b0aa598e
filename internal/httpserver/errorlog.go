// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync"
	"time"
)

const (
	// errorEvery is the least time from one line about connections to the next.
	errorEvery = time.Second
	// maxError is how long the text of one is.
	maxError = 512
)

// errors logs what net/http says about connections, some of which a peer causes,
// and even words, at will.
type errors struct {
	logger *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	last    time.Time
	omitted int
}

func errorLog(logger *slog.Logger) *log.Logger {
	return log.New(&errors{logger: logger, now: time.Now}, "", 0)
}

// Write implements io.Writer for one line.
func (e *errors) Write(line []byte) (int, error) {
	omitted, ok := e.due()
	if !ok {
		return len(line), nil
	}
	text := bytes.TrimSpace(line)
	attributes := []slog.Attr{slog.String("error", string(text[:min(len(text), maxError)]))}
	if omitted > 0 {
		attributes = append(attributes, slog.Int("omitted_before", omitted))
	}
	e.logger.LogAttrs(context.Background(), slog.LevelWarn, "connection", attributes...)
	return len(line), nil
}

// due tells whether a line may be written, and how many were not since the last.
func (e *errors) due() (omitted int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if since := now.Sub(e.last); since >= 0 && since < errorEvery {
		e.omitted++
		return 0, false
	}
	omitted, e.omitted, e.last = e.omitted, 0, now
	return omitted, true
}
