// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Keys of the ConfigMap.
const (
	keyTokenServer    = "tokenServer"
	keyIssuer         = "issuer"
	keyOrganization   = "organizationID"
	keyInstallation   = "installationID"
	keyAccepted       = "accepted"
	keyAcceptedLosses = "acceptedLosses"
	keyQuestion       = "question"
)

const (
	namePrefix = "tokenserver-identity-"
	// maxName is the longest name of a ConfigMap.
	maxName = 253
)

// +kubebuilder:rbac:groups="",resources=configmaps,namespace=connectedapps-system,verbs=get;create;update;delete

// Records keeps one Record for each TokenServer, by its name.
type Records struct {
	// Client writes.
	Client client.Client
	// Live reads from the API server: a record is read once a probe, and must not
	// be older than our last write.
	Live client.Reader
	// Namespace is the manager's, in which nobody else may write.
	Namespace string
}

// ConfigMapName is where the record of a TokenServer is.
func ConfigMapName(tokenServer string) string {
	if len(namePrefix)+len(tokenServer) <= maxName {
		return namePrefix + tokenServer
	}
	sum := sha256.Sum256([]byte(tokenServer))
	return namePrefix + hex.EncodeToString(sum[:])
}

// Get returns what is remembered of a TokenServer; nothing is no error.
func (r *Records) Get(ctx context.Context, tokenServer string) (Record, error) {
	object := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: ConfigMapName(tokenServer)}, object)
	if apierrors.IsNotFound(err) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading what is known of the server behind TokenServer %s: %w", tokenServer, err)
	}
	record := decode(object.Data)
	record.version = object.ResourceVersion
	return record, nil
}

// Put writes changed, which came from Get as before, unless it is the same. The
// error is a conflict when somebody else wrote meanwhile.
func (r *Records) Put(ctx context.Context, tokenServer string, before, changed Record) error {
	data := encode(tokenServer, changed)
	if before.version != "" && maps.Equal(encode(tokenServer, before), data) {
		return nil
	}
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: ConfigMapName(tokenServer), ResourceVersion: before.version},
		Data:       data,
	}
	write := func() error { return r.Client.Update(ctx, object) }
	if before.version == "" {
		write = func() error { return r.Client.Create(ctx, object) }
	}
	if err := write(); err != nil {
		return fmt.Errorf("remembering the server behind TokenServer %s: %w", tokenServer, err)
	}
	return nil
}

// Delete forgets a TokenServer. One that is not remembered is no error.
func (r *Records) Delete(ctx context.Context, tokenServer string) error {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: ConfigMapName(tokenServer)}}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, object)); err != nil {
		return fmt.Errorf("forgetting the server behind TokenServer %s: %w", tokenServer, err)
	}
	return nil
}

func encode(tokenServer string, r Record) map[string]string {
	data := map[string]string{keyTokenServer: tokenServer}
	for key, value := range map[string]string{
		keyIssuer: r.Issuer, keyOrganization: r.OrganizationID, keyInstallation: r.InstallationID, keyAccepted: r.Accepted,
	} {
		if value != "" {
			data[key] = value
		}
	}
	if r.AcceptedLosses > 0 {
		data[keyAcceptedLosses] = strconv.Itoa(r.AcceptedLosses)
	}
	if r.Question != nil {
		question, err := json.Marshal(r.Question)
		if err != nil {
			panic(err) // strings, a number and a time
		}
		data[keyQuestion] = string(question)
	}
	return data
}

// decode takes what cannot be read for not being there: the question is then
// asked again, and no loss is accepted.
func decode(data map[string]string) Record {
	record := Record{
		Identity: Identity{Issuer: data[keyIssuer], OrganizationID: data[keyOrganization], InstallationID: data[keyInstallation]},
		Accepted: data[keyAccepted],
	}
	if n, err := strconv.Atoi(data[keyAcceptedLosses]); err == nil {
		record.AcceptedLosses = max(n, 0)
	}
	question := &Question{}
	if json.Unmarshal([]byte(data[keyQuestion]), question) == nil && !question.Since.IsZero() {
		record.Question = question
	}
	return record
}
