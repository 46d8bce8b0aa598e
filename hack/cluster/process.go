// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// process is one running part of the control plane.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// spawn starts a program whose output goes to <name>.log.
func (c *controlPlane) spawn(path string, args []string) error {
	p := &process{name: filepath.Base(path), done: make(chan struct{})}
	p.log = filepath.Join(c.dir, p.name+".log")
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.dir, log, log
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	c.processes = append(c.processes, p)
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
		c.ended <- p
	}()
	return nil
}

// stop kills every process, the last one first, and waits for it. Nothing is
// worth an orderly end: the data goes away with the directory.
func (c *controlPlane) stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		_ = c.processes[i].cmd.Process.Kill()
		<-c.processes[i].done
	}
}

// failure describes why the process ended, with the end of its log.
func (p *process) failure() error {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Errorf("%s ended: %s", p.name, p.cmd.ProcessState)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	lines = lines[max(0, len(lines)-8):]
	return fmt.Errorf("%s ended: %s; the end of %s:\n%s", p.name, p.cmd.ProcessState, p.log, strings.Join(lines, "\n"))
}
