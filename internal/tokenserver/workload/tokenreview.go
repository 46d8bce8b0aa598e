// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
)

const (
	reviewPath      = "/apis/authentication.k8s.io/v1/tokenreviews"
	maxReviewLength = 64 << 10
	// maxReviews is how many reviews may be on their way to an API server.
	maxReviews = 16
)

// TokenReview asks an API server about every token. It alone knows of a Pod or a
// ServiceAccount that is gone before its token has expired.
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
type TokenReview struct {
	at    Connection
	slots chan struct{}
	// failed tells that the last review was not answered.
	failed atomic.Bool
}

// NewTokenReview asks nobody yet.
func NewTokenReview(at Connection) *TokenReview {
	return &TokenReview{at: at, slots: make(chan struct{}, maxReviews)}
}

func (t *TokenReview) unavailable() bool { return t.failed.Load() }

// review is the part of the resource that counts here.
type review struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type reviewStatus struct {
	Authenticated bool     `json:"authenticated"`
	Audiences     []string `json:"audiences"`
	User          struct {
		Username string `json:"username"`
	} `json:"user"`
	Error string `json:"error"`
}

// Claims implements Source. The claims are read first, so that no API server is
// asked about what could not be accepted anyway.
func (t *TokenReview) Claims(ctx context.Context, raw string, policy assertion.Policy) (*assertion.Claims, error) {
	claims, err := assertion.Read(raw, policy)
	if err != nil {
		return nil, err
	}
	status, err := t.ask(ctx, raw, policy.Audiences)
	// That somebody hung up says nothing of the API server.
	if !errors.Is(err, context.Canceled) {
		t.failed.Store(err != nil)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: reviewing the token: %w", ErrUnavailable, err)
	case !status.Authenticated:
		return nil, fmt.Errorf("the API server does not authenticate the token: %.300q", status.Error)
	// An API server that knows no audiences names none: then the token is for itself.
	case !slices.Equal(status.Audiences, policy.Audiences):
		return nil, fmt.Errorf("the API server does not confirm the audience, but %.300q", status.Audiences)
	case status.User.Username != claims.Subject:
		return nil, errors.New("the API server does not confirm sub")
	}
	return claims, nil
}

func (t *TokenReview) ask(ctx context.Context, raw string, audiences []string) (reviewStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return reviewStatus{}, fmt.Errorf("waiting for earlier reviews: %w", ctx.Err())
	}
	body, err := json.Marshal(review{
		APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview", Spec: reviewSpec{Token: raw, Audiences: audiences},
	})
	if err != nil {
		return reviewStatus{}, err
	}
	answer, err := t.at.ask(ctx, http.MethodPost, t.at.URL+reviewPath, body, http.StatusCreated, maxReviewLength)
	if err != nil {
		return reviewStatus{}, err
	}
	var done review
	if err := json.Unmarshal(answer, &done); err != nil {
		return reviewStatus{}, errors.New("the answer is no TokenReview")
	}
	return done.Status, nil
}
