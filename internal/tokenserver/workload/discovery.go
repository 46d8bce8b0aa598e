// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
)

const (
	// keysFresh is how long keys are taken without asking again whether they still
	// are the issuer's.
	keysFresh = time.Minute
	// keysStale is how long keys are taken while the issuer does not answer: as
	// long as it takes until the last token of a cluster that is down has expired.
	keysStale = time.Hour
	// askAgain is how long after one attempt to read the keys the next may be.
	askAgain = RetryAfter

	maxDocumentLength = 64 << 10
)

// Discovery finds the keys of an issuer by its discovery document, when they are
// needed.
// https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
type Discovery struct {
	issuer string
	// at is the issuer itself, or where it is reached instead: elsewhere.
	at        Connection
	elsewhere bool
	now       func() time.Time
	logger    *slog.Logger

	mu   sync.Mutex
	keys keySet
	// read is when keys were read, attempted when that was last begun; zero: never.
	read, attempted time.Time
	// failure is why the last attempt failed; nil: it did not.
	failure error
	// reading is closed at the end of the attempt that is on its way; nil: none is.
	reading chan struct{}
}

// NewDiscovery asks nobody yet. issuer is the iss of tokens; the URL of at is empty
// when the issuer is reached there.
func NewDiscovery(issuer string, at Connection, now func() time.Time, logger *slog.Logger) *Discovery {
	elsewhere := at.URL != ""
	if !elsewhere {
		at.URL = strings.TrimSuffix(issuer, "/")
	}
	return &Discovery{issuer: issuer, at: at, elsewhere: elsewhere, now: now, logger: logger}
}

func (d *Discovery) unavailable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failure != nil
}

// Claims implements Source.
func (d *Discovery) Claims(ctx context.Context, raw string, policy assertion.Policy) (*assertion.Claims, error) {
	header, err := assertion.HeaderOf(raw)
	if err != nil {
		return nil, err
	}
	keys, err := d.current(ctx, header)
	if err != nil {
		return nil, err
	}
	return verify(raw, keys.named(header), policy)
}

// current are the keys to look for a header's in. They are read again when they
// are not fresh or hold none that the header may mean, but never twice within
// askAgain, whatever headers strangers make up.
func (d *Discovery) current(ctx context.Context, header assertion.Header) (keySet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		age := d.since(d.read)
		named := age <= keysStale && len(d.keys.named(header)) > 0
		switch {
		case named && (age <= keysFresh || d.reading != nil):
			return d.keys, nil
		case d.reading != nil:
			if err := d.wait(ctx); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		case d.since(d.attempted) >= askAgain:
			d.refresh(ctx)
		case named || d.failure == nil:
			return d.keys, nil
		default:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, d.failure)
		}
	}
}

// since is for ever when t is zero, or after now, to which a clock was set back.
func (d *Discovery) since(t time.Time) time.Duration {
	age := d.now().Sub(t)
	if t.IsZero() || age < 0 {
		return time.Duration(1<<63 - 1)
	}
	return age
}

// wait is called with mu held, and holds it again when it returns.
func (d *Discovery) wait(ctx context.Context) error {
	done := d.reading
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refresh is called with mu held, and holds it again when it returns. It goes on
// when the caller hangs up: others wait for it.
func (d *Discovery) refresh(ctx context.Context) {
	d.attempted, d.reading = d.now(), make(chan struct{})
	d.mu.Unlock()
	var keys keySet
	err := errors.New("reading the keys was cut short")
	defer func() {
		d.mu.Lock()
		d.report(ctx, err)
		if err == nil {
			d.keys, d.read = keys, d.attempted
		}
		d.failure = err
		close(d.reading)
		d.reading = nil
	}()
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	keys, err = d.fetch(timed)
}

// report logs a trouble once, not at every attempt.
func (d *Discovery) report(ctx context.Context, err error) {
	switch {
	case err != nil && d.failure == nil:
		d.logger.LogAttrs(ctx, slog.LevelError, "reading the keys of a workload issuer failed; those that are known stay in use for an hour",
			slog.String("issuer", d.issuer), slog.Any("error", err))
	case err == nil && d.failure != nil:
		d.logger.LogAttrs(ctx, slog.LevelInfo, "the keys of a workload issuer are read again", slog.String("issuer", d.issuer))
	}
}

func (d *Discovery) fetch(ctx context.Context) (keySet, error) {
	text, err := d.at.ask(ctx, http.MethodGet, d.at.URL+"/.well-known/openid-configuration", nil, http.StatusOK, maxDocumentLength)
	if err != nil {
		return nil, fmt.Errorf("reading the discovery document: %w", err)
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, errors.New("the discovery document is not JSON")
	}
	if document.Issuer != d.issuer {
		return nil, fmt.Errorf("the discovery document is of the issuer %.200q", document.Issuer)
	}
	at, err := d.keysAt(document.JWKSURI)
	if err != nil {
		return nil, err
	}
	text, err = d.at.ask(ctx, http.MethodGet, at, nil, http.StatusOK, maxSetLength)
	if err != nil {
		return nil, fmt.Errorf("reading the JWK Set: %w", err)
	}
	return parseKeys(text)
}

// apiServerKeys is where every API server has its keys.
const apiServerKeys = "/openid/v1/jwks"

// keysAt is where the JWK Set is. An issuer that is reached elsewhere is reached at
// an API server, whose document names what its nodes or the world can reach, not
// what can be reached here, and maybe in another folder.
func (d *Discovery) keysAt(jwksURI string) (string, error) {
	if d.elsewhere {
		return d.at.URL + apiServerKeys, nil
	}
	u, err := url.Parse(jwksURI)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("the jwks_uri of the discovery document is no https URL: %.200q", jwksURI)
	}
	return jwksURI, nil
}
