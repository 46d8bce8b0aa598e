// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"connectedapps.dev/operator/test/report"
)

// short are the sizes of a short run, where the environment has none.
var short = map[string]string{
	"SPEED_PAIRS": "3", "SPEED_SECONDS": "1", "SPEED_APPS": "1000", "SPEED_FAMILIES": "20000", "SPEED_REVOCATIONS": "10000",
	"SPEED_TOKENS": "10000", "SPEED_IDLE": "10", "CAMPAIGN_APPS": "50", "TOKENS": "80",
}

// run runs the benchmarks and returns the rows they have measured, also when one
// failed.
func (g group) run(ctx context.Context, isShort bool) ([]report.Row, error) {
	folder, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	events := filepath.Join(folder, "events")
	if err := os.WriteFile(events, nil, 0o600); err != nil {
		return nil, err
	}
	pattern := "^Benchmark(" + strings.Join(g.names, "|") + ")$"
	command := exec.CommandContext(ctx, "go", "test", g.folder, "-run", "^$", "-bench", pattern, "-benchtime", "1x", "-timeout", "0", "-v")
	// It takes down what it has started.
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = time.Minute
	command.Env = append(os.Environ(), report.EnvEvents+"="+events)
	if isShort {
		for name, value := range short {
			if os.Getenv(name) == "" {
				command.Env = append(command.Env, name+"="+value)
			}
		}
	}
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	fmt.Fprintf(os.Stderr, "  building what %s measures\n", g.folder)
	if err := command.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	rows, err := follow(events, ended, newScreen(os.Stderr))
	if err != nil {
		return rows, fmt.Errorf("running the benchmarks of %s: %w\n%s", g.folder, err, tail(said.String()))
	}
	return rows, nil
}

// look is how often the events are looked at.
const look = 200 * time.Millisecond

// follow reads events until the benchmarks have ended, and shows them.
func follow(path string, ended <-chan error, s *screen) (rows []report.Row, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := newLines(file)
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for running := true; running; {
		var failure error
		select {
		case failure = <-ended:
			running = false
		case <-ticker.C:
		}
		for {
			event, ok, err := reader.next()
			if err != nil || !ok {
				failure = errors.Join(failure, err)
				break
			}
			if event.Row != nil {
				rows = append(rows, *event.Row)
			}
			s.show(event)
		}
		s.tick()
		if failure != nil {
			s.clear()
			return rows, failure
		}
	}
	s.clear()
	return rows, nil
}

// lines are those of a file that grows.
type lines struct {
	reader *bufio.Reader
	begun  []byte
}

func newLines(r io.Reader) *lines { return &lines{reader: bufio.NewReader(r)} }

// next returns the next event; false: there is none yet.
func (l *lines) next() (e report.Event, ok bool, err error) {
	part, err := l.reader.ReadBytes('\n')
	l.begun = append(l.begun, part...)
	if errors.Is(err, io.EOF) {
		return e, false, nil
	}
	if err != nil {
		return e, false, err
	}
	err = json.Unmarshal(l.begun, &e)
	l.begun = nil
	return e, err == nil, err
}

// tail is the end of what a program said.
func tail(text string) string {
	const most = 40
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-most):], "\n")
}

// screen shows what is measured, and on a terminal what is being done.
type screen struct {
	out      io.Writer
	terminal bool
	doing    string
	// since is when the screen was new.
	since time.Time
}

func newScreen(file *os.File) *screen {
	info, err := file.Stat()
	return &screen{out: file, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, since: time.Now()}
}

func (s *screen) show(e report.Event) {
	if e.Row != nil {
		s.clear()
		_, _ = fmt.Fprintln(s.out, "  "+report.Line(*e.Row))
		return
	}
	s.doing = e.Doing
}

// tick draws the line anew.
func (s *screen) tick() {
	if s.terminal && s.doing != "" {
		const width = 100
		text := []rune("  " + elapsed(s.since) + "  " + s.doing)
		_, _ = fmt.Fprint(s.out, "\r\x1b[K"+string(text[:min(width, len(text))]))
	}
}

func (s *screen) clear() {
	if s.terminal {
		_, _ = fmt.Fprint(s.out, "\r\x1b[K")
	}
}
