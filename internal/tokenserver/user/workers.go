// SPDX-License-Identifier: Apache-2.0

package user

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/argon2"
)

// Derivation is what an argon2id key is derived from.
type Derivation struct {
	Password, Salt       []byte
	Time, Memory, Length uint32
	Threads              uint8
}

// Key derives it.
func (d *Derivation) Key() []byte {
	return argon2.IDKey(d.Password, d.Salt, d.Time, d.Memory, d.Threads, d.Length)
}

// Workers derive keys in processes of their own, as many as are asked for at once.
// A derivation would keep a processor of this one for tens of milliseconds, in which
// Go lets nobody else have it but after slices of ten; between processes the kernel
// shares, and these yield to the server. Their memory is not the server's garbage
// either.
type Workers struct {
	// Command makes one, a process that does no more than Work; only input, output
	// and process attributes are set here.
	Command func() *exec.Cmd
	Logger  *slog.Logger
	// Patience is how long a worker may take, as one does for ever that somebody has
	// stopped; zero: a minute, which no hash costs.
	Patience time.Duration

	mu   sync.Mutex
	idle []*worker // the last used at the end
}

// workerIdle is how long a worker waits for more to do before it ends.
const workerIdle = time.Minute

type worker struct {
	command *exec.Cmd
	in      io.WriteCloser
	ask     *json.Encoder
	answer  *json.Decoder
	timer   *time.Timer
}

// Derive derives a key, in a worker that is started when none is idle. What no
// worker can do is done here.
func (w *Workers) Derive(d *Derivation) []byte {
	key, err := w.derive(d)
	if err != nil {
		w.Logger.Warn("a password is checked in this process, which keeps other requests waiting", "error", err)
		return d.Key()
	}
	return key
}

func (w *Workers) derive(d *Derivation) ([]byte, error) {
	used, err := w.take()
	if err != nil {
		return nil, fmt.Errorf("starting a process for password checks: %w", err)
	}
	alarm := time.AfterFunc(cmp.Or(w.Patience, time.Minute), func() { _ = used.command.Process.Kill() })
	key, err := used.derive(d)
	alarm.Stop()
	if err != nil {
		return nil, fmt.Errorf("asking the process for password checks: %w", errors.Join(err, used.end()))
	}
	w.put(used)
	return key, nil
}

func (w *Workers) take() (*worker, error) {
	w.mu.Lock()
	var found *worker
	if n := len(w.idle); n > 0 {
		found, w.idle = w.idle[n-1], w.idle[:n-1]
		found.timer.Stop()
	}
	w.mu.Unlock()
	if found != nil {
		return found, nil
	}
	return startWorker(w.Command())
}

func (w *Workers) put(used *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	used.timer = time.AfterFunc(workerIdle, func() { w.retire(used) })
	w.idle = append(w.idle, used)
}

// retire ends a worker if it is still idle.
func (w *Workers) retire(old *worker) {
	w.mu.Lock()
	was := len(w.idle)
	w.idle = without(w.idle, old)
	retired := len(w.idle) < was
	w.mu.Unlock()
	if retired {
		_ = old.end() // what it did was done
	}
}

// without is workers but one.
func without(workers []*worker, one *worker) []*worker {
	return slices.DeleteFunc(workers, func(w *worker) bool { return w == one })
}

// startWorker starts one in a process group of its own, which no key of a terminal
// ends before the server has.
func startWorker(command *exec.Cmd) (*worker, error) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	return &worker{command: command, in: in, ask: json.NewEncoder(in), answer: json.NewDecoder(out)}, nil
}

func (w *worker) derive(d *Derivation) (key []byte, err error) {
	if err = w.ask.Encode(d); err == nil { //nolint:gosec // to a process of our own
		err = w.answer.Decode(&key)
	}
	return key, err
}

// end ends the process; one that does nothing ends as soon as nobody can ask it.
func (w *worker) end() error {
	_ = w.in.Close()
	_ = w.command.Process.Kill()
	return w.command.Wait()
}

// yields is the niceness of workers. Where the server wants all of a processor, the
// kernel gives it three quarters and them one: enough for those who sign in.
const yields = 5

// Work is what a worker does until nobody can ask it any more.
func Work(in io.Reader, out io.Writer) error {
	// On Linux each thread has a niceness; that of the group is for all.
	if err := syscall.Setpriority(syscall.PRIO_PGRP, 0, yields); err != nil {
		return fmt.Errorf("yielding to the server: %w", err)
	}
	// The server ends it, also where a signal is for all processes of a service: who
	// signs in while it drains is served.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	asked, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var d Derivation
		if err := asked.Decode(&d); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading what to derive: %w", err)
		}
		if err := answers.Encode(d.Key()); err != nil {
			return fmt.Errorf("answering with a key: %w", err)
		}
		runtime.GC() // else the next would take as much memory again
	}
}
