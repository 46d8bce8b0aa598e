// SPDX-License-Identifier: Apache-2.0

// Package workload verifies the tokens by which workloads prove who they are,
// such as the ServiceAccount tokens of a Kubernetes cluster, and gets the keys for
// that. Which app a workload is a client of is not its business.
// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
)

// ErrUnavailable says that it cannot be told at present whether the issuer made a
// token: nothing is known to be wrong with it.
var ErrUnavailable = errors.New("the issuer of the workload token cannot be asked")

// RetryAfter is when a request is worth repeating that met ErrUnavailable: before
// that nobody is asked again.
const RetryAfter = 10 * time.Second

// DefaultLife is how long a token may be valid where the configuration says
// nothing else: as long as the kubelet asks for.
const DefaultLife = assertion.MaxLife

// Issuer is a cluster, or another issuer of workload tokens, that is trusted.
type Issuer struct {
	// Name is what apps refer to.
	Name string
	// URL is the iss of its tokens.
	URL string
	// Audience is what aud must be, and nothing beside it.
	Audience string
	// Life is how long a token may be valid, by exp and iat; zero: DefaultLife.
	Life time.Duration
	// Source tells what the issuer has made.
	Source Source
}

// Source tells whether an issuer has made a token.
type Source interface {
	// Claims returns the claims of a token that the issuer has made and that fits
	// the policy. An assertion.ClaimError may be told to whoever presented it;
	// ErrUnavailable says that nothing is known; any other error is for the log.
	Claims(ctx context.Context, raw string, policy assertion.Policy) (*assertion.Claims, error)
}

// Identity is a workload: which ServiceAccount of which cluster.
type Identity struct {
	// IssuerName is the Name of an Issuer.
	IssuerName string
	// Subject is system:serviceaccount:NAMESPACE:NAME.
	Subject string
}

// Issuers are all that are trusted. The zero value trusts nobody.
type Issuers struct {
	list []Issuer
	now  func() time.Time
}

// New fails when two of the issuers could not be told apart: they have a name, or
// issuer and audience, in common.
func New(list []Issuer, now func() time.Time) (*Issuers, error) {
	for i, issuer := range list {
		for _, other := range list[:i] {
			if issuer.Name == other.Name {
				return nil, fmt.Errorf("two issuers of workload tokens are called %s", issuer.Name)
			}
			if issuer.URL == other.URL && issuer.Audience == other.Audience {
				return nil, fmt.Errorf("the issuers of workload tokens %s and %s have the same issuer and audience", other.Name, issuer.Name)
			}
		}
	}
	return &Issuers{list: list, now: now}, nil
}

// Names are those that apps may refer to.
func (s *Issuers) Names() []string {
	names := make([]string, len(s.list))
	for i, issuer := range s.list {
		names[i] = issuer.Name
	}
	return names
}

// Reload reads the JWK Sets in files again. The error names every one that could
// not be taken over; the earlier keys stay in use.
func (s *Issuers) Reload() error {
	var problems []error
	for _, issuer := range s.list {
		if file, ok := issuer.Source.(*KeyFile); ok {
			if err := file.Reload(); err != nil {
				problems = append(problems, fmt.Errorf("workload issuer %s: %w", issuer.Name, err))
			}
		}
	}
	return errors.Join(problems...)
}

// Unavailable is how many of the issuers did not answer when they were last asked.
func (s *Issuers) Unavailable() int {
	n := 0
	for _, issuer := range s.list {
		if asked, ok := issuer.Source.(interface{ unavailable() bool }); ok && asked.unavailable() {
			n++
		}
	}
	return n
}

// Has tells whether iss is that of an issuer here.
func (s *Issuers) Has(iss string) bool {
	return slices.ContainsFunc(s.list, func(i Issuer) bool { return i.URL == iss })
}

// Verify returns whose token raw is. Errors: as Source.Claims.
func (s *Issuers) Verify(ctx context.Context, raw string) (Identity, error) {
	hint, err := assertion.HintOf(raw)
	if err != nil {
		return Identity{}, err
	}
	err = errors.New("iss is no issuer of workload tokens")
	for _, issuer := range s.candidates(hint) {
		identity, failure := issuer.verify(ctx, raw, s.now())
		var claim assertion.ClaimError
		if failure == nil || errors.As(failure, &claim) {
			return identity, failure
		}
		err = failure
	}
	return Identity{}, err
}

// candidates is the one issuer that a token is of by its iss and aud. When aud is
// wrong they are those of its iss, to tell which aud was expected.
func (s *Issuers) candidates(hint assertion.Hint) []Issuer {
	var same []Issuer
	for _, issuer := range s.list {
		if issuer.URL != hint.Issuer {
			continue
		}
		if slices.Contains(hint.Audience, issuer.Audience) {
			return []Issuer{issuer}
		}
		same = append(same, issuer)
	}
	return same
}

func (i *Issuer) verify(ctx context.Context, raw string, now time.Time) (Identity, error) {
	claims, err := i.Source.Claims(ctx, raw, assertion.Policy{Audiences: []string{i.Audience}, Life: i.Life, Now: now})
	switch {
	case err != nil:
		return Identity{}, fmt.Errorf("workload issuer %s: %w", i.Name, err)
	case claims.Issuer != i.URL:
		return Identity{}, fmt.Errorf("workload issuer %s: iss is another", i.Name)
	case claims.IssuedAt.IsZero():
		// Without it nobody knows how long it was made to live.
		return Identity{}, assertion.ClaimError("iat is missing")
	}
	return Identity{i.Name, claims.Subject}, nil
}
