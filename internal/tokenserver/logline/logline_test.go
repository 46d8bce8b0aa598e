// SPDX-License-Identifier: Apache-2.0

package logline_test

import (
	"bytes"
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/logline"
)

// withoutTime drops what differs from line to line.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func TestALineIsWhatTheLoggerWrites(t *testing.T) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: withoutTime}
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, options) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, options) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, list := range [][]string{nil, {}, {"a"}, {"a b", "c"}, {`"`, "=", "<&>", "ü\n", ""}} {
				for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelError} {
					var ours, theirs bytes.Buffer
					attributes := []slog.Attr{slog.String("name", "value"), slog.Int("n", 1), slog.String("", ""), slog.Float64("f", 0.5), slog.Bool("b", true)}
					logline.Write(t.Context(), slog.New(handler(&ours)).With("w", 1), level, "a message",
						append(attributes, slog.Any("list", logline.List(list)))...)
					slog.New(handler(&theirs)).With("w", 1).LogAttrs(t.Context(), level, "a message",
						append(attributes, slog.Any("list", list))...)
					require.Equal(t, theirs.String(), ours.String())
				}
			}
		})
	}
}
