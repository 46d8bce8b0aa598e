// SPDX-License-Identifier: Apache-2.0

package postgresql

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

//go:embed keep.sh
var keepScript string

// process is a program beside this one. It ends with it, however that ends.
type process struct {
	folder   string
	watcher  *exec.Cmd
	lifeline io.WriteCloser
	// done is closed when the program has ended.
	done chan struct{}
}

// begin starts a program; signal ends it ("QUIT").
func begin(as *syscall.Credential, folder, signal, path string, args ...string) (*process, error) {
	args = append([]string{"-c", keepScript, "sh", folder, signal, path}, args...)
	watcher := exec.CommandContext(context.Background(), "sh", args...)
	watcher.Dir = folder
	watcher.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	// What ends a whole terminal or the group of the tests must not end it.
	watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	lifeline, err := watcher.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := watcher.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	p := &process{folder: folder, watcher: watcher, lifeline: lifeline, done: make(chan struct{})}
	go func() {
		_ = watcher.Wait()
		close(p.done)
	}()
	return p, nil
}

// end ends the program and waits for it; keep leaves its folder.
func (p *process) end(keep bool) error {
	var err error
	if keep {
		_, err = io.WriteString(p.lifeline, "keep")
	}
	err = errors.Join(err, p.lifeline.Close())
	<-p.done
	return err
}

const patience = 30 * time.Second

// await calls ready until it succeeds.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(p.folder, "log"))
			return fmt.Errorf("waiting for the server in %s: %w\n%s", p.folder, err, log)
		case <-ticker.C:
		}
	}
}

// Ports below those that the kernel gives away (net.ipv4.ip_local_port_range): a
// port of those may be somebody's before the server has it, or while it is halted.
const firstPort, lastPort = 16384, 32767

// freePort is one that nothing listens on.
func freePort(ctx context.Context) (int, error) {
	var listen net.ListenConfig
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		var listener net.Listener
		if listener, err = listen.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("finding a free port: %w", err)
}
