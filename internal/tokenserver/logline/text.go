// SPDX-License-Identifier: Apache-2.0

package logline

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// text is a slog.TextHandler that writes the usual lines itself, and leaves all others
// to it: with groups, with text that is no printable ASCII, with values of other kinds.
type text struct {
	*slog.TextHandler
	out io.Writer
	// latest is the second of the last line.
	latest atomic.Pointer[second]
}

// NewTextHandler writes the lines that a slog.TextHandler does, each by one Write, which
// must be safe for concurrent use.
func NewTextHandler(out io.Writer, level slog.Leveler) slog.Handler {
	return &text{TextHandler: slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}), out: out}
}

var lines = sync.Pool{New: func() any { return new([]byte) }}

// Handle implements slog.Handler.
func (h *text) Handle(ctx context.Context, record slog.Record) error {
	const long = 16 << 10 // memory of a longer line is not kept for the next
	buffer := lines.Get().(*[]byte)
	line, usual := h.line((*buffer)[:0], &record)
	if cap(line) <= long {
		*buffer = line[:0]
		defer lines.Put(buffer)
	}
	if !usual {
		return h.TextHandler.Handle(ctx, record)
	}
	_, err := h.out.Write(line)
	return err
}

// line appends it; false: it is none of the usual.
func (h *text) line(line []byte, record *slog.Record) (_ []byte, usual bool) {
	if record.Time.IsZero() {
		return line, false
	}
	line = h.time(append(line, "time="...), record.Time)
	line = append(line, " level="...)
	line = append(line, record.Level.String()...)
	line = append(line, " msg="...)
	line, usual = appendText(line, record.Message)
	record.Attrs(func(a slog.Attr) bool {
		if usual && !a.Equal(slog.Attr{}) {
			line, usual = appendAttribute(line, a)
		}
		return usual
	})
	return append(line, '\n'), usual
}

func appendAttribute(line []byte, a slog.Attr) (_ []byte, usual bool) {
	line = append(line, ' ')
	if line, usual = appendText(line, a.Key); !usual {
		return line, false
	}
	line = append(line, '=')
	switch a.Value.Kind() {
	case slog.KindString:
		return appendText(line, a.Value.String())
	case slog.KindInt64:
		return strconv.AppendInt(line, a.Value.Int64(), 10), true
	case slog.KindFloat64:
		return strconv.AppendFloat(line, a.Value.Float64(), 'g', -1, 64), true
	case slog.KindAny:
		if list, ok := a.Value.Any().(List); ok {
			return appendList(line, list)
		}
	}
	return line, false
}

func appendList(line []byte, list List) (_ []byte, usual bool) {
	start := len(line)
	line = list.append(line)
	switch shape(line[start:]) {
	case plain:
		return line, true
	case quoted:
		text := string(line[start:])
		return strconv.AppendQuote(line[:start], text), true
	}
	return line, false
}

func appendText(line []byte, text string) (_ []byte, usual bool) {
	switch shape(text) {
	case plain:
		return append(line, text...), true
	case quoted:
		return strconv.AppendQuote(line, text), true
	}
	return line, false
}

// The shapes of text.
const (
	plain  = iota
	quoted // has a space, an equals sign or a quotation mark, or nothing at all
	other  // has what is no printable ASCII
)

func shape[T string | []byte](text T) int {
	found := plain
	if len(text) == 0 {
		return quoted
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~':
			return other
		case c == ' ' || c == '=' || c == '"':
			found = quoted
		}
	}
	return found
}

// second is how the lines of one second begin and end their time.
type second struct {
	unix       int64
	zone       *time.Location
	begin, end string
}

// time appends it in milliseconds.
func (h *text) time(line []byte, t time.Time) []byte {
	now := h.latest.Load()
	if now == nil || now.unix != t.Unix() || now.zone != t.Location() {
		now = &second{t.Unix(), t.Location(), t.Format("2006-01-02T15:04:05"), t.Format("Z07:00")}
		h.latest.Store(now)
	}
	ms := t.Nanosecond() / int(time.Millisecond)
	line = append(line, now.begin...)
	line = append(line, '.', digit(ms/100), digit(ms/10), digit(ms))
	return append(line, now.end...)
}

func digit(n int) byte { return '0' + byte(n%10) }
