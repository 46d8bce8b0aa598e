// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/test/report"
)

const root = "../.."

// TestEveryBenchmarkCanBeChosen holds the list to what is declared, and the document to
// the list: each has a table there.
func TestEveryBenchmarkCanBeChosen(t *testing.T) {
	declaration := regexp.MustCompile(`(?m)^func Benchmark(\w+)\(`)
	for _, folder := range []string{speed, campaign} {
		var declared, listed []string
		files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, match := range declaration.FindAllStringSubmatch(string(text), -1) {
				declared = append(declared, match[1])
			}
		}
		for _, b := range benchmarks {
			if b.folder == folder {
				listed = append(listed, b.name)
			}
		}
		require.ElementsMatch(t, declared, listed, folder)
	}
	text, err := os.ReadFile(filepath.Join(root, document))
	require.NoError(t, err)
	for _, b := range benchmarks {
		_, err := report.Keep(string(text), []report.Row{{Benchmark: b.name, Name: "x"}}, "0")
		require.NoError(t, err, b.name)
	}
}

func TestWhatIsChosen(t *testing.T) {
	o, err := parse(nil, nil)
	require.NoError(t, err)
	require.Equal(t, []group{
		{speed, []string{"ClientCredentials", "Introspection", "Refresh", "JWTBearer", "IDToken", "Flood", "Apps", "Families", "Revocations", "Footprint", "Refresher"}},
		{campaign, []string{"Operator"}},
	}, grouped(o.chosen))
	o, err = parse([]string{"--short", "--strict", "Tokens", "Refresh"}, nil)
	require.NoError(t, err)
	require.True(t, o.short)
	require.True(t, o.strict)
	require.Equal(t, []group{{speed, []string{"Refresh"}}, {campaign, []string{"Tokens"}}}, grouped(o.chosen))
	_, err = parse([]string{"refresh"}, nil)
	require.ErrorContains(t, err, "there is no benchmark refresh; there are ClientCredentials, Introspection, Refresh, ")
	var help bytes.Buffer
	_, err = parse([]string{"--help"}, &help)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, help.String(), "* Families              6 min  refresh_token, introspection and others as families grow")
	require.Contains(t, help.String(), "\n  Scale                   1 h  a manager with")
}

// TestEventsAreFollowed reads a file that grows, in pieces, until the benchmarks have
// ended.
func TestEventsAreFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	file, err := os.Create(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	say := func(text string) {
		_, err := file.WriteString(text)
		require.NoError(t, err)
	}
	say(`{"doing":"first"}` + "\n" + `{"row":{"benchmark":"A","name":"one","value":1,"dir`)
	opened, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, opened.Close()) }()
	reader := newLines(opened)
	event, ok, err := reader.next()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "first", event.Doing)
	_, ok, err = reader.next()
	require.NoError(t, err)
	require.False(t, ok, "half a line")
	say(`ection":"higher"}}` + "\n")
	event, ok, err = reader.next()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, &report.Row{Benchmark: "A", Name: "one", Value: 1, Goal: report.Without(report.Higher)}, event.Row)

	ended := make(chan error, 1)
	var out strings.Builder
	ended <- nil
	rows, err := follow(path, ended, &screen{out: &out})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Contains(t, out.String(), "one")

	t.Run("also those of benchmarks that failed", func(t *testing.T) {
		failure := errors.New("exit status 1")
		ended <- failure
		rows, err := follow(path, ended, &screen{out: &out})
		require.ErrorIs(t, err, failure)
		require.Len(t, rows, 1)
	})
}

func TestATerminalShowsWhatIsDone(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, terminal: true, since: time.Now()}
	s.show(report.Event{Doing: "pair 1 of 9 " + strings.Repeat("x", 200)})
	s.tick()
	require.Contains(t, out.String(), "0s  pair 1 of 9")
	last := out.String()[strings.LastIndex(out.String(), "\r"):]
	require.Less(t, len(last), 120, "one line")
	require.False(t, slices.Contains([]rune(last), '\n'))
}
