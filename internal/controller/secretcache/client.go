// SPDX-License-Identifier: Apache-2.0

// Package secretcache reads Secrets for the controllers, quickly and within a
// fixed amount of memory.
//
// A watch of Secrets holds whatever anybody labels: 300 Secrets of 1 MiB are
// more than the manager may use. So the watch is one of metadata, trimmed by
// TrimSecret, and the content is read by name, when an object of ours asks for
// it. What was read is kept as long as the watch shows the same version: a
// resync at which nothing changed reads nothing from the API server.
package secretcache

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// keptBytes bounds what is kept of all Secrets together; beyond it some are
	// read again at each look. 10,000 apps and their tokens need about as much.
	keptBytes = 32 << 20
	// largestKept is the size of the largest Secret that is kept. What the
	// manager writes is a tenth of it; somebody may have added to it.
	largestKept = 32 << 10
)

// Client is a client whose Get of a Secret answers with what the watch of
// labelled Secrets has seen, or something newer. Lists of Secrets, and all reads
// of ConfigMaps, go to the API server.
type Client struct {
	client.Client

	seen client.Reader
	kept kept
}

// New returns a Client; it is a client.NewClientFunc for the manager.
func New(config *rest.Config, options client.Options) (client.Client, error) {
	cached := *options.Cache
	// A read of the typed object through the cache would start a second watch,
	// one of everything in it.
	cached.DisableFor = append(cached.DisableFor, &corev1.Secret{}, &corev1.ConfigMap{})
	options.Cache = &cached
	live, err := client.New(config, options)
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	return &Client{Client: live, seen: cached.Reader, kept: kept{limit: keptBytes, largest: largestKept}}, nil
}

// Get implements client.Reader. A Secret without our label is not found.
func (c *Client) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	secret, ok := o.(*corev1.Secret)
	if !ok {
		return c.Client.Get(ctx, key, o, options...)
	}
	seen := &metav1.PartialObjectMetadata{}
	seen.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := c.seen.Get(ctx, key, seen); err != nil {
		if apierrors.IsNotFound(err) {
			c.kept.drop(key)
		}
		return err
	}
	if c.kept.get(key, seen, secret) {
		return nil
	}
	if err := c.Client.Get(ctx, key, secret, options...); err != nil {
		return err
	}
	c.kept.put(key, secret)
	return nil
}

// Create implements client.Writer, and keeps what was made: it is looked at again
// as soon as the watch shows it.
func (c *Client) Create(ctx context.Context, o client.Object, options ...client.CreateOption) error {
	err := c.Client.Create(ctx, o, options...)
	if secret, ok := o.(*corev1.Secret); ok && err == nil {
		c.kept.put(client.ObjectKeyFromObject(secret), secret)
	}
	return err
}
