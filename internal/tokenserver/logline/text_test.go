// SPDX-License-Identifier: Apache-2.0

package logline_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/logline"
)

// requireSame fails unless both handlers write the same of a record.
func requireSame(t *testing.T, change func(slog.Handler) slog.Handler, record slog.Record) {
	t.Helper()
	var ours, theirs bytes.Buffer
	require.NoError(t, change(logline.NewTextHandler(&ours, slog.LevelInfo)).Handle(t.Context(), record))
	require.NoError(t, change(slog.NewTextHandler(&theirs, &slog.HandlerOptions{Level: slog.LevelInfo})).Handle(t.Context(), record))
	require.Equal(t, theirs.String(), ours.String())
}

func asItIs(h slog.Handler) slog.Handler { return h }

func TestEachLineIsTheLibrarys(t *testing.T) {
	at := time.Date(2026, 11, 27, 9, 8, 7, 6_999_999, time.UTC)
	record := func(at time.Time, message string, attributes ...slog.Attr) slog.Record {
		r := slog.NewRecord(at, slog.LevelInfo, message, 0)
		r.AddAttrs(attributes...)
		return r
	}
	for name, r := range map[string]slog.Record{
		"nothing but a message": record(at, "message"),
		"no time":               record(time.Time{}, "message"),
		"no message":            record(at, ""),
		"another zone":          record(at.In(time.FixedZone("", -5*3600)), "message"),
		"the end of a second":   record(at.Add(993*time.Millisecond), "message"),
		"a monotonic clock":     record(time.Now(), "message"),
		"texts": record(at, "a message", slog.String("plain", `a\b/c`), slog.String("space", "a b"), slog.String("equal", "a=b"),
			slog.String("quote", `"`), slog.String("line", "a\nb"), slog.String("none", ""), slog.String("ü", "ü"), slog.String("bytes", "\xff"),
			slog.String("delete", "\x7f"), slog.String("a key", "b"), slog.String("", "no key")),
		"an empty attribute": record(at, "message", slog.Attr{}, slog.Int("a", 1)),
		"numbers": record(at, "message", slog.Int("a", -1), slog.Int64("b", math.MinInt64), slog.Uint64("c", math.MaxUint64),
			slog.Float64("d", 1e21), slog.Float64("e", 0.0001234), slog.Float64("f", math.NaN()), slog.Float64("g", math.Inf(-1))),
		"others": record(at, "message", slog.Bool("a", true), slog.Duration("b", time.Second), slog.Time("c", at), slog.Any("d", errors.New("an error")),
			slog.Any("e", nil), slog.Any("f", []string{"a"}), slog.Any("g", secret{}), slog.Group("h", slog.Int("i", 1)), slog.Group("j")),
		"lists": record(at, "message", slog.Any("a", logline.List{"b"}), slog.Any("c", logline.List{"d", "e"}), slog.Any("f", logline.List{}),
			slog.Any("g", logline.List(nil)), slog.Any("h", logline.List{`"`})),
		"a list of other text": record(at, "message", slog.Any("a", logline.List{"ü", "\n"})),
	} {
		t.Run(name, func(t *testing.T) {
			requireSame(t, asItIs, r)
			requireSame(t, func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.Int("with", 1)}) }, r)
			requireSame(t, func(h slog.Handler) slog.Handler { return h.WithGroup("group") }, r)
		})
	}
}

func TestEachLineOfAHandlerHasItsOwnTime(t *testing.T) {
	var ours, theirs bytes.Buffer
	all := map[*bytes.Buffer]slog.Handler{&ours: logline.NewTextHandler(&ours, slog.LevelInfo), &theirs: slog.NewTextHandler(&theirs, nil)}
	at := time.Date(2026, 11, 27, 9, 8, 7, 0, time.UTC)
	for _, after := range []time.Duration{0, 0, time.Millisecond, time.Second, -time.Hour, time.Minute, time.Nanosecond} {
		for _, in := range []*time.Location{time.UTC, time.FixedZone("a", 3600), time.UTC} {
			for _, h := range all {
				require.NoError(t, h.Handle(t.Context(), slog.NewRecord(at.Add(after).In(in), slog.LevelWarn+1, "message", 0)))
			}
		}
	}
	require.Equal(t, theirs.String(), ours.String())
}

// secret is logged as something else.
type secret struct{}

func (secret) LogValue() slog.Value { return slog.StringValue("hidden") }

func FuzzText(f *testing.F) {
	f.Add("message", "key", "value", int64(1), 0.5, int64(1_700_000_000_123_456_789))
	f.Add("", "a b", "=", int64(-1), math.Inf(1), int64(-1))
	f.Fuzz(func(t *testing.T, message, key, value string, n int64, x float64, nanoseconds int64) {
		record := slog.NewRecord(time.Unix(0, nanoseconds), slog.LevelInfo, message, 0)
		record.AddAttrs(slog.String(key, value), slog.Int64("n", n), slog.Float64("x", x), slog.Any("list", logline.List{key, value}))
		requireSame(t, asItIs, record)
	})
}
