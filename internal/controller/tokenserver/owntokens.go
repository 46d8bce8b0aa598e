// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// ownTokenLife is asked for; the API server may give less or more. It is the
	// longest that our token server takes.
	ownTokenLife = time.Hour
	// ownTokenShare of its life is over when a token is replaced.
	ownTokenShare = 0.8
)

// OwnTokens are tokens of the ServiceAccount that the manager runs as, and of no
// other. It is safe for use by several goroutines.
type OwnTokens struct {
	// Client asks the API server.
	Client client.Client

	mu sync.Mutex
	// account is the ServiceAccount; nil before it is known.
	account *corev1.ServiceAccount
	// byAudience are the tokens in use.
	byAudience map[string]ownToken
}

type ownToken struct {
	token   string
	renewAt time.Time
}

// Get returns a token for an audience. The error says in words what is missing.
func (o *OwnTokens) Get(ctx context.Context, audience string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known := o.byAudience[audience]; time.Now().Before(known.renewAt) {
		return known.token, nil
	}
	if err := o.findAccount(ctx); err != nil {
		return "", err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: new(int64(ownTokenLife / time.Second)),
	}}
	asked := time.Now()
	if err := o.Client.SubResource("token").Create(ctx, o.account, request); err != nil {
		return "", fmt.Errorf("asking the API server for a token of ServiceAccount %s/%s: %w", o.account.Namespace, o.account.Name, err)
	}
	if o.byAudience == nil {
		o.byAudience = map[string]ownToken{}
	}
	life := request.Status.ExpirationTimestamp.Sub(asked)
	o.byAudience[audience] = ownToken{request.Status.Token, asked.Add(time.Duration(float64(life) * ownTokenShare))}
	return request.Status.Token, nil
}

// findAccount asks the API server who the manager is.
func (o *OwnTokens) findAccount(ctx context.Context) error {
	if o.account != nil {
		return nil
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := o.Client.Create(ctx, review); err != nil {
		return fmt.Errorf("asking the API server who the manager is: %w", err)
	}
	user := review.Status.UserInfo.Username
	namespace, name, ok := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":")
	if !ok || !strings.HasPrefix(user, "system:serviceaccount:") {
		return fmt.Errorf("the manager runs as %s, which is no ServiceAccount: run it in a Pod, or give the TokenServer credentials of type Secret", user)
	}
	o.account = &corev1.ServiceAccount{}
	o.account.Namespace, o.account.Name = namespace, name
	return nil
}
