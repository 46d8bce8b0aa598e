// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// secret holds so many bytes that cannot be compressed, each name its own.
func secret(name, version string, size int) *corev1.Secret {
	value := make([]byte, size)
	seed := [32]byte{}
	copy(seed[:], name)
	_, _ = rand.NewChaCha8(seed).Read(value)
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name), ResourceVersion: version},
		Data:       map[string][]byte{"key": value},
	}
}

func seen(s *corev1.Secret) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: s.ObjectMeta}
}

func TestWhatIsKeptHasABound(t *testing.T) {
	k := &kept{limit: 20_000, largest: 1_900}
	for i := range 100 {
		s := secret(strconv.Itoa(i), "1", 900)
		k.put(client.ObjectKeyFromObject(s), s)
		require.LessOrEqual(t, k.bytes, 20_000)
		require.True(t, k.get(client.ObjectKeyFromObject(s), seen(s), &corev1.Secret{}), "the last one is there")
	}
	require.Greater(t, k.bytes, 18_000, "the room is used")

	sum := 0
	for _, s := range k.secrets {
		sum += len(s.content)
	}
	require.Equal(t, sum, k.bytes)
	for key := range k.secrets {
		k.drop(key)
	}
	require.Zero(t, k.bytes)
}

// What is kept is the Secret as it was, whole.
func TestWhatIsKeptIsWhatWasRead(t *testing.T) {
	k := &kept{limit: 1 << 20, largest: 1 << 20}
	at := metav1.NewTime(time.Unix(1_800_000_000, 0))
	whole := secret("a", "1", 300)
	whole.Labels, whole.Annotations, whole.Type = map[string]string{"l": "1"}, map[string]string{"a": "2"}, corev1.SecretTypeBasicAuth
	whole.CreationTimestamp, whole.Immutable = at, new(true)
	whole.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u", Controller: new(true)}}
	whole.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "m", Operation: metav1.ManagedFieldsOperationApply, Time: &at, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:data":{}}`),
	}}
	k.put(client.ObjectKeyFromObject(whole), whole)
	read := &corev1.Secret{}
	require.True(t, k.get(client.ObjectKeyFromObject(whole), seen(whole), read))
	require.True(t, equality.Semantic.DeepEqual(whole, read))
}

// Thousands of Secrets of the same making take little more than what is their own.
func TestWhatManySecretsSayIsKeptOnce(t *testing.T) {
	k := &kept{limit: 1 << 20, largest: 1 << 20}
	common := secret("", "", 1000).Data["key"]
	like := func(i int) *corev1.Secret {
		s := secret(strconv.Itoa(i), "1", 0)
		s.Data = map[string][]byte{"ca.crt": common, "client-id": fmt.Appendf(nil, "client %d", i)}
		return s
	}
	for i := range 100 {
		k.put(client.ObjectKeyFromObject(like(i)), like(i))
	}
	require.Less(t, k.bytes, 100*200)
	for i := range 100 {
		read := &corev1.Secret{}
		require.True(t, k.get(client.ObjectKeyFromObject(like(i)), seen(like(i)), read))
		require.Equal(t, like(i), read)
	}
}

// Whoever may write Secrets may give them any keys.
func TestModelsHaveABound(t *testing.T) {
	k := &kept{limit: 1 << 20, largest: 1 << 20}
	for i := range 100 {
		s := secret(strconv.Itoa(i), "1", 100*i)
		s.Data = map[string][]byte{"key-" + s.Name: s.Data["key"]}
		k.put(client.ObjectKeyFromObject(s), s)
		require.True(t, k.get(client.ObjectKeyFromObject(s), seen(s), &corev1.Secret{}))
	}
	require.LessOrEqual(t, len(k.models), mostModels)
	for _, m := range k.models {
		require.LessOrEqual(t, len(m), largestModel)
	}
}

func TestASecretThatGrewTooLargeIsNotKept(t *testing.T) {
	k := &kept{limit: 20_000, largest: 1_900}
	key := client.ObjectKey{Namespace: "ns", Name: "a"}
	k.put(key, secret("a", "1", 100))
	grown := secret("a", "2", 2_000)
	k.put(key, grown)
	require.False(t, k.get(key, seen(grown), &corev1.Secret{}))
	require.Zero(t, k.bytes)
}

func TestOnlyTheVersionThatWasSeenIsTaken(t *testing.T) {
	k := &kept{limit: 20_000, largest: 1_900}
	key := client.ObjectKey{Namespace: "ns", Name: "a"}
	k.put(key, secret("a", "1", 100))
	require.True(t, k.get(key, seen(secret("a", "1", 0)), &corev1.Secret{}))
	require.False(t, k.get(key, seen(secret("a", "2", 0)), &corev1.Secret{}), "a later version")
	other := seen(secret("a", "1", 0))
	other.UID = "another"
	require.False(t, k.get(key, other, &corev1.Secret{}), "another object of the same name")
}

func TestCallersCannotChangeWhatIsKept(t *testing.T) {
	k := &kept{limit: 20_000, largest: 1_900}
	key := client.ObjectKey{Namespace: "ns", Name: "a"}
	given := secret("a", "1", 10)
	k.put(key, given)
	given.Data["key"][0] = 'x'
	first, second := &corev1.Secret{}, &corev1.Secret{}
	require.True(t, k.get(key, seen(given), first))
	first.Data["key"][1] = 'x'
	require.True(t, k.get(key, seen(given), second))
	require.Equal(t, secret("a", "1", 10).Data, second.Data)
}

// Whatever somebody writes into the metadata of a Secret, what stays of it is
// small, and is what the controllers ask for.
func TestTrimmedMetadataIsSmall(t *testing.T) {
	huge := strings.Repeat("x", 200_000)
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "a", UID: "u", ResourceVersion: "7",
		Labels:      map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged, v1alpha1.LabelConnectedApp: "app", "other": "label"},
		Annotations: map[string]string{"a": huge},
		Finalizers:  []string{huge},
		OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Other", Name: huge, UID: "o"},
			{APIVersion: "connectedapps.dev/v1alpha1", Kind: "ConnectedApp", Name: "app", UID: "owner", Controller: new(true)},
		},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: huge}},
	}}
	trimmed, err := TrimSecret(m)
	require.NoError(t, err)
	require.Equal(t, metav1.ObjectMeta{
		Namespace: "ns", Name: "a", UID: "u", ResourceVersion: "7",
		Labels:          map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretManaged},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "connectedapps.dev/v1alpha1", Kind: "ConnectedApp", Name: "app", UID: "owner", Controller: new(true)}},
	}, trimmed.(*metav1.PartialObjectMetadata).ObjectMeta)

	forged := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name:            "a",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "connectedapps.dev/v1alpha1", Kind: "ConnectedApp", Name: huge, UID: "owner", Controller: new(true)}},
	}}
	trimmed, err = TrimSecret(forged)
	require.NoError(t, err)
	require.Empty(t, trimmed.(*metav1.PartialObjectMetadata).OwnerReferences)

	owned := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "a", UID: "u", Labels: map[string]string{"other": "label"}, Annotations: map[string]string{"a": huge},
		OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Other", Name: huge, UID: "o"},
			{APIVersion: "connectedapps.dev/v1alpha1", Kind: "ConnectedApp", Name: "app", UID: "owner", Controller: new(true)},
		},
	}}
	trimmed, err = TrimConfigMap(owned)
	require.NoError(t, err)
	require.Equal(t, metav1.ObjectMeta{
		Namespace: "ns", Name: "a", UID: "u",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "connectedapps.dev/v1alpha1", Kind: "ConnectedApp", Name: "app", UID: "owner", Controller: new(true)}},
	}, trimmed.(*metav1.PartialObjectMetadata).ObjectMeta, "whose it is")

	for name, trim := range map[string]func(any) (any, error){"ConfigMap": TrimConfigMap, "Namespace": TrimNamespace} {
		object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: "a", ResourceVersion: "7", Labels: map[string]string{"team": "payments"}, Annotations: map[string]string{"a": huge},
		}}
		trimmed, err := trim(object)
		require.NoError(t, err)
		require.Empty(t, trimmed.(*metav1.PartialObjectMetadata).Annotations, name)
		require.Equal(t, "7", trimmed.(*metav1.PartialObjectMetadata).ResourceVersion, name)
	}
}

// maker makes Secrets, and has none to read.
type maker struct{ client.Client }

func (maker) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	o.SetUID("uid")
	o.SetResourceVersion("1")
	return nil
}

// watched is what the watch shows.
type watched struct {
	client.Reader
	version string
}

func (w watched) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	o.SetUID("uid")
	o.SetResourceVersion(w.version)
	return nil
}

func TestWhatWasMadeIsNotReadAgain(t *testing.T) {
	c := &Client{Client: maker{}, seen: watched{version: "1"}, kept: kept{limit: 20_000, largest: 1_900}}
	made := secret("a", "", 100)
	require.NoError(t, c.Create(t.Context(), made))
	read := &corev1.Secret{}
	require.NoError(t, c.Get(t.Context(), client.ObjectKeyFromObject(made), read))
	require.Equal(t, made, read)
	c.seen = watched{version: "2"}
	require.Panics(t, func() { _ = c.Get(t.Context(), client.ObjectKeyFromObject(made), read) }, "another version is read")
}
