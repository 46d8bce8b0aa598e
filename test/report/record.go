// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// EnvEvents names the file to which a benchmark appends what it has to say; without
// it, it logs.
const EnvEvents = "BENCH_EVENTS"

// Event is a line of that file, JSON: one of the two.
type Event struct {
	// Row was measured.
	Row *Row `json:"row,omitempty"`
	// Doing is what the benchmark does now.
	Doing string `json:"doing,omitempty"`
}

// Add reports a row of the benchmark that runs.
func Add(t testing.TB, r Row) {
	t.Helper()
	r.Benchmark = strings.TrimPrefix(t.Name(), "Benchmark")
	write(t, Event{Row: &r}, Line(r))
}

// Progress says what the benchmark does now.
func Progress(t testing.TB, format string, args ...any) {
	t.Helper()
	doing := fmt.Sprintf(format, args...)
	write(t, Event{Doing: doing}, "")
}

func write(t testing.TB, e Event, text string) {
	t.Helper()
	path := os.Getenv(EnvEvents)
	if path == "" {
		if text != "" {
			t.Log(text)
		}
		return
	}
	line, err := json.Marshal(e)
	require.NoError(t, err)
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = file.Write(append(line, '\n'))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}
