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

// ownTokenLife is the shortest that the API server gives: a token is used once, at
// once, to log in.
const ownTokenLife = 10 * time.Minute

// OwnTokens are tokens of the ServiceAccount that the manager runs as, and of no
// other. It is safe for use by several goroutines.
type OwnTokens struct {
	// Client asks the API server.
	Client client.Client

	mu sync.Mutex
	// account is the ServiceAccount; nil before it is known.
	account *corev1.ServiceAccount
}

// Get returns a new token for an audience. The error says in words what is missing.
func (o *OwnTokens) Get(ctx context.Context, audience string) (string, error) {
	account, err := o.findAccount(ctx)
	if err != nil {
		return "", err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: new(int64(ownTokenLife / time.Second)),
	}}
	if err := o.Client.SubResource("token").Create(ctx, account.DeepCopy(), request); err != nil {
		return "", fmt.Errorf("asking the API server for a token of ServiceAccount %s/%s: %w", account.Namespace, account.Name, err)
	}
	return request.Status.Token, nil
}

// findAccount asks the API server who the manager is.
func (o *OwnTokens) findAccount(ctx context.Context) (*corev1.ServiceAccount, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.account != nil {
		return o.account, nil
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := o.Client.Create(ctx, review); err != nil {
		return nil, fmt.Errorf("asking the API server who the manager is: %w", err)
	}
	user := review.Status.UserInfo.Username
	namespace, name, ok := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":")
	if !ok || !strings.HasPrefix(user, "system:serviceaccount:") {
		return nil, fmt.Errorf("the manager runs as %s, which is no ServiceAccount: run it in a Pod, or give the TokenServer credentials of type Secret", user)
	}
	o.account = &corev1.ServiceAccount{}
	o.account.Namespace, o.account.Name = namespace, name
	return o.account, nil
}
