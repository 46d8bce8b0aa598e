// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/options/refresheroptions"
	"connectedapps.dev/operator/internal/refresher"
)

// token is one of those that the process keeps fresh.
type token struct {
	refresheroptions.Token
	credentials *refresher.Directory
	engine      *refresher.Engine
	wake        chan struct{}
}

type tokens []*token

// prepare makes an engine for each and takes its directory, if it has one, until
// release is called.
func prepare(settings []refresheroptions.Token, logger *slog.Logger) (all tokens, release func(), err error) {
	var locks []func()
	release = func() {
		for _, unlock := range locks {
			unlock()
		}
	}
	var problems []error
	for _, s := range settings {
		output, unlock, err := output(s)
		if err != nil {
			setting := "--output-dir"
			if s.Name != "" {
				setting = "outputDir of token " + s.Name
			}
			problems = append(problems, fmt.Errorf("checking %s: %w", setting, err))
			continue
		}
		locks = append(locks, unlock)
		all = append(all, newToken(s, output, logger))
	}
	if err := errors.Join(problems...); err != nil {
		release()
		return nil, nil, err
	}
	return all, release, nil
}

// take makes sure that a directory can be written, and is by nobody else.
func take(dir atomicfile.Dir) (unlock func(), err error) {
	if err := dir.Check(); err != nil {
		return nil, err
	}
	return dir.Lock()
}

func newToken(s refresheroptions.Token, output refresher.Output, logger *slog.Logger) *token {
	if s.Name != "" {
		logger = logger.With("token", s.Name)
	}
	credentials := &refresher.Directory{
		Path: s.CredentialsDir, Keys: s.CredentialsKeys, GrantType: s.GrantType,
		TokenURL: s.TokenURL, Issuer: s.Issuer, ClientID: s.ClientID, KeyID: s.KeyID, Audience: s.Audience, Subject: s.Subject,
		ServiceAccountTokenFile: s.ServiceAccountTokenFile, PrivateKeyFile: s.PrivateKeyFile, CAFile: s.CAFile,
	}
	wake := make(chan struct{}, 1)
	return &token{Token: s, credentials: credentials, wake: wake, engine: &refresher.Engine{
		Name: s.Name,
		Source: frugal{&refresher.EndpointSource{
			Credentials: credentials.Credentials, Scope: s.Scope, Encoding: s.RequestFormat, Logger: logger,
		}},
		Output: output,
		Wake:   wake,
		Logger: logger,
	}}
}

// frugal gives the memory of each request back at once: the next one is minutes
// away, and every Pod pays for what is kept until then.
type frugal struct{ refresher.Source }

func (f frugal) Token(ctx context.Context) (*refresher.Token, error) {
	defer debug.FreeOSMemory()
	return f.Source.Token(ctx)
}

func (all tokens) engines() []*refresher.Engine {
	engines := make([]*refresher.Engine, len(all))
	for i, t := range all {
		engines[i] = t.engine
	}
	return engines
}

// run keeps them fresh until ctx ends.
func (all tokens) run(ctx context.Context, logger *slog.Logger) {
	var loops sync.WaitGroup
	var paths []string
	for _, t := range all {
		loops.Go(func() { t.engine.Run(ctx) })
		paths = append(paths, t.credentials.Paths()...)
	}
	loops.Go(func() { refresher.Watch(ctx, paths, logger, all.wake) })
	loops.Wait()
}

// wake lets each look at its credentials.
func (all tokens) wake() {
	for _, t := range all {
		select {
		case t.wake <- struct{}{}:
		default: // it is about to
		}
	}
}

// once waits for one token of each.
func (all tokens) once(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	problems := make([]error, len(all))
	var loops sync.WaitGroup
	for i, t := range all {
		loops.Go(func() {
			if err := t.engine.Once(ctx); err != nil {
				problems[i] = fmt.Errorf("no token%s within %s: %w", t.called(), timeout, err)
			}
		})
	}
	loops.Wait()
	return errors.Join(problems...)
}

// called is the name in the middle of a sentence.
func (t *token) called() string {
	if t.Name == "" {
		return ""
	}
	return " " + t.Name
}
