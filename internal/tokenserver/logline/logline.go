// SPDX-License-Identifier: Apache-2.0

// Package logline writes the two lines that every request has, as package slog would,
// at less cost: a logger of slog looks up the source line of each, which no handler here
// shows, prints lists by reflection, and looks at each text several times.
package logline

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Write logs one line, as logger.LogAttrs does. The attributes may be changed afterwards.
func Write(ctx context.Context, logger *slog.Logger, level slog.Level, message string, attributes ...slog.Attr) {
	handler := logger.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	record := slog.NewRecord(time.Now(), level, message, 0)
	record.AddAttrs(attributes...)
	_ = handler.Handle(ctx, record) // as slog does: nobody is left to tell
}

// List is how a list of texts is logged: what slog makes of a []string.
type List []string

// MarshalText is for the text format.
func (l List) MarshalText() ([]byte, error) { return l.append(nil), nil }

func (l List) append(line []byte) []byte {
	line = append(line, '[')
	for i, text := range l {
		if i > 0 {
			line = append(line, ' ')
		}
		line = append(line, text...)
	}
	return append(line, ']')
}

// MarshalJSON is for the JSON format.
func (l List) MarshalJSON() ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode([]string(l))
	return line.Bytes(), err
}
