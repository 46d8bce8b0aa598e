// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"fmt"
	"slices"
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
	// reserved are the audiences of the API server itself.
	reserved []string
}

// Get returns a new token for an audience, which must not be the API server's:
// whoever gets the token could do there what the manager can. The error says in
// words what is missing.
func (o *OwnTokens) Get(ctx context.Context, audience string) (string, error) {
	account, reserved, err := o.findAccount(ctx)
	if err != nil {
		return "", err
	}
	if slices.Contains(reserved, audience) {
		return "", fmt.Errorf("%s is an audience of the API server itself, where a token for it would give all rights of the manager: "+
			"leave spec.credentials.audience out, or name the one that the token server expects", audience)
	}
	made, err := o.request(ctx, account, audience)
	return made.Status.Token, err
}

// request asks for a token. Without an audience it is for the API server, and the
// answer names those.
func (o *OwnTokens) request(ctx context.Context, account *corev1.ServiceAccount, audiences ...string) (*authenticationv1.TokenRequest, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: audiences, ExpirationSeconds: new(int64(ownTokenLife / time.Second)),
	}}
	if err := o.Client.SubResource("token").Create(ctx, account.DeepCopy(), request); err != nil {
		return request, fmt.Errorf("asking the API server for a token of ServiceAccount %s/%s: %w", account.Namespace, account.Name, err)
	}
	return request, nil
}

// findAccount asks the API server who the manager is, and which audiences are its
// own.
func (o *OwnTokens) findAccount(ctx context.Context) (account *corev1.ServiceAccount, reserved []string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.account != nil {
		return o.account, o.reserved, nil
	}
	review := &authenticationv1.SelfSubjectReview{}
	if err := o.Client.Create(ctx, review); err != nil {
		return nil, nil, fmt.Errorf("asking the API server who the manager is: %w", err)
	}
	user := review.Status.UserInfo.Username
	namespace, name, ok := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":")
	if !ok || !strings.HasPrefix(user, "system:serviceaccount:") {
		return nil, nil, fmt.Errorf("the manager runs as %s, which is no ServiceAccount: run it in a Pod, or give the TokenServer credentials of type Secret", user)
	}
	account = &corev1.ServiceAccount{}
	account.Namespace, account.Name = namespace, name
	probe, err := o.request(ctx, account)
	if err != nil {
		return nil, nil, err
	}
	o.account, o.reserved = account, probe.Spec.Audiences
	return o.account, o.reserved, nil
}
