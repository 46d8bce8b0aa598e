// SPDX-License-Identifier: Apache-2.0

package kubesecret

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/refresher"
)

const (
	fieldManager = "connectedapps-refresher"
	// defaultPeriod is how soon a Secret that somebody changed is as it was.
	// Kubelets take longer to bring it to its readers.
	defaultPeriod = 30 * time.Second
	// attempts of a write while others change what is no part of the token.
	attempts = 3
)

// Output publishes the token in a Secret. It serves one Engine, and no two at a
// time.
type Output struct {
	API API
	// Namespace and Name of the Secret.
	Namespace, Name string
	// MinimumLifetime is how long a token must live to be published; 0: any.
	MinimumLifetime time.Duration
	// Every is how often the Secret is looked at; 0 means 30 s.
	Every time.Duration

	// seen is the Secret as it was last read or written; nil: there was none.
	seen *secret
	// own is the identity of the last token that was published or found, when it
	// was the one that was wanted.
	own refresher.Purpose
	// creator is the field manager of what create applies; empty: none yet.
	creator string
}

var _ refresher.Shared = (*Output)(nil)

// Period implements refresher.Shared.
func (o *Output) Period() time.Duration {
	if o.Every > 0 {
		return o.Every
	}
	return defaultPeriod
}

// Load implements refresher.Output.
func (o *Output) Load() (*refresher.Held, error) {
	held, err := o.Look(context.Background(), "")
	if err == nil && held == nil {
		err = fmt.Errorf("secret %s holds no token", o.name())
	}
	return held, err
}

// Look implements refresher.Shared. A Secret that came to hold a valid token of
// another identity is somebody else's from then on: whoever came later stays, so
// that two refreshers that were given the same name by mistake do not take it
// from each other for ever.
func (o *Output) Look(ctx context.Context, purpose refresher.Purpose) (*refresher.Held, error) {
	if err := o.read(ctx); err != nil {
		return nil, err
	}
	held := o.seen.held()
	if held == nil || purpose == "" {
		return held, nil
	}
	found := refresher.Purpose(held.Purpose).Identity()
	switch {
	case found == purpose.Identity():
		o.own = found
	case o.own == purpose.Identity() && held.Valid(time.Now()):
		return nil, notOurs(fmt.Sprintf("Secret %s came to hold a token of another client, token endpoint or scope, until %s: "+
			"another refresher with other settings writes it; give each a --secret of its own", o.name(), held.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	return held, nil
}

// Publish implements refresher.Output. The Secret tells no problem: each of its
// writers has its own.
func (o *Output) Publish(token *refresher.Held, _ error) error {
	if token != nil && token.ExpiresAt.Sub(token.IssuedAt) < o.MinimumLifetime {
		return fmt.Errorf("the token lives %s; in a Secret it must live at least %s, since kubelets take up to two minutes to bring it to its readers: "+
			"write files with --output-dir, let the server issue tokens that live longer, or set --minimum-lifetime",
			token.ExpiresAt.Sub(token.IssuedAt), o.MinimumLifetime)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*requestTimeout)
	defer cancel()
	if err := o.write(ctx, token); err != nil {
		return err
	}
	if token != nil {
		o.own = refresher.Purpose(token.Purpose).Identity()
	}
	return nil
}

func (o *Output) write(ctx context.Context, token *refresher.Held) error {
	for range attempts {
		if o.seen == nil && token == nil {
			return nil
		}
		before := o.seen.held()
		done, err := o.try(ctx, token)
		if done || err != nil {
			return err
		}
		if err := o.read(ctx); err != nil {
			return err
		}
		if !same(before, o.seen.held()) {
			return refresher.ErrOvertaken
		}
	}
	return fmt.Errorf("writing Secret %s: it is changed faster than it can be written", o.name())
}

// try writes once; false when the Secret is not what was seen.
func (o *Output) try(ctx context.Context, token *refresher.Held) (done bool, err error) {
	if o.seen == nil {
		return o.create(ctx, token)
	}
	if reason := o.seen.foreign(); reason != "" {
		return false, notOurs(reason)
	}
	change := o.seen.change(token)
	if change == nil {
		return true, nil
	}
	written := &secret{}
	_, err = o.API.do(ctx, http.MethodPatch, o.path()+"?fieldManager="+fieldManager, "application/merge-patch+json", change, written)
	switch {
	case is(err, http.StatusConflict), is(err, http.StatusNotFound):
		return false, nil
	case err != nil:
		return false, o.worded("writing", withoutToken(err, token))
	}
	o.seen = written
	return true, nil
}

// same reports whether no other token was published meanwhile.
func same(before, now *refresher.Held) bool {
	return now == nil || before != nil && before.AccessToken == now.AccessToken
}

// read sets seen. ErrNotOurs when the Secret must not be written.
func (o *Output) read(ctx context.Context) error {
	found := &secret{}
	_, err := o.API.do(ctx, http.MethodGet, o.path(), "", nil, found)
	switch {
	case is(err, http.StatusNotFound):
		o.seen = nil
		return nil
	case err != nil:
		return o.worded("reading", err)
	}
	o.seen = found
	if reason := found.foreign(); reason != "" {
		return notOurs(reason)
	}
	return nil
}

// create makes the Secret, whole, so that no Pod mounts one without a token.
func (o *Output) create(ctx context.Context, token *refresher.Held) (done bool, err error) {
	if o.creator == "" {
		o.creator = fieldManager + "-" + rand.Text()
	}
	made, whole := &secret{}, manifest(o.Namespace, o.Name, token)
	status, err := o.apply(ctx, whole, made)
	switch {
	case is(err, http.StatusConflict): // somebody made it since, with keys of a token
		return false, nil
	case err != nil:
		return false, o.worded("creating", withoutToken(err, token))
	case status == http.StatusCreated:
		o.seen = made
		return true, nil
	}
	// Somebody made it since, and an apply cannot ask for that. What was added to
	// it is taken off.
	if _, err := o.apply(ctx, manifest(o.Namespace, o.Name, nil), &secret{}); err != nil {
		return false, o.worded("releasing", err)
	}
	return false, nil
}

// apply makes the Secret have what the manifest says and what others gave it. The
// field manager is the process's own, so that no apply takes off what another
// process applied.
func (o *Output) apply(ctx context.Context, manifest map[string]any, result *secret) (status int, err error) {
	return o.API.do(ctx, http.MethodPatch, o.path()+"?fieldManager="+o.creator, "application/apply-patch+yaml", manifest, result)
}

// withoutToken leaves out the API server's words when they repeat what was sent,
// as an admission webhook might.
func withoutToken(err error, token *refresher.Held) error {
	r, ok := errors.AsType[*refusal](err)
	if !ok || token == nil {
		return err
	}
	for key, value := range refresher.Files(token.Token) {
		encoded := base64.StdEncoding.EncodeToString(value)
		if key != refresher.KeyTokenType && (strings.Contains(r.message, string(value)) || strings.Contains(r.message, encoded)) {
			return &refusal{status: r.status}
		}
	}
	return err
}

// worded says what to do about a failed request.
func (o *Output) worded(doing string, err error) error {
	switch {
	case is(err, http.StatusUnauthorized):
		return fmt.Errorf("%s Secret %s: the API server does not take the Pod's ServiceAccount token in %s: %w", doing, o.name(), o.API.Dir, err)
	case is(err, http.StatusForbidden) && doing == "creating":
		return fmt.Errorf("%s Secret %s: let the Pod's ServiceAccount create it by a Role of the verbs get, patch and create with resourceNames: [%s], "+
			"or make it, of type Opaque with the label %s: %s: %w", doing, o.name(), o.Name, Label, LabelValue, err)
	case is(err, http.StatusForbidden):
		return fmt.Errorf("%s Secret %s: give the Pod's ServiceAccount a Role of the verbs get, patch and create with resourceNames: [%s]: %w",
			doing, o.name(), o.Name, err)
	case is(err, http.StatusNotFound):
		return fmt.Errorf("%s Secret %s: there is no namespace %s: %w", doing, o.name(), o.Namespace, err)
	}
	return fmt.Errorf("%s Secret %s: %w", doing, o.name(), err)
}

// notOurs is an ErrNotOurs in the words that the user needs.
type notOurs string

func (e notOurs) Error() string { return string(e) }

func (e notOurs) Unwrap() error { return refresher.ErrNotOurs }

func (o *Output) name() string { return o.Namespace + "/" + o.Name }

func (o *Output) path() string {
	return "/api/v1/namespaces/" + url.PathEscape(o.Namespace) + "/secrets/" + url.PathEscape(o.Name)
}
