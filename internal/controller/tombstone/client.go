// SPDX-License-Identifier: Apache-2.0

package tombstone

import (
	"context"
	"errors"
	"fmt"

	"connectedapps.dev/operator/internal/controller/adoption"
	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// Client is a client on a token server, and what proves that it is ours.
type Client struct {
	// TokenServer is the name of the object.
	TokenServer string
	// Server is who it is registered with. Zero: not known.
	Server identity.Identity
	// ExternalID proves it on servers with the extension external_id.
	ExternalID string
	// ClientID is what the status of the app says, which others may have written:
	// it is no proof by itself. Empty: none was recorded.
	ClientID string
	// ClientName is the name it was last given. On a server without external ids
	// the client with ClientID is deleted only when it has this name still.
	ClientName string
	// UniqueName is the name that a client gets first on a server without
	// external ids, unique to its ConnectedApp: whatever has it is deleted. Empty:
	// there is no such name.
	UniqueName string
	// Adopted: ClientID is a client that the ConnectedApp took over, as the manager
	// remembers, so that neither mark nor name has to prove it.
	Adopted bool
}

// ErrNotProven is the error about a client that may be somebody else's, which is
// left as it is.
var ErrNotProven = errors.New("it cannot be told whose it is")

// pageSize is the number of rows to ask for.
const pageSize = 200

// deleteClient deletes a client of ours, and is safe to repeat. One that is gone
// is no error, nor is one that another ConnectedApp adopted since: that has it
// now. The error is ErrNotProven when the client is left alone, otherwise one of
// package registrar or of the API server.
func deleteClient(ctx context.Context, server *inventory.Connection, adoptions *adoption.Records, c Client) error {
	if server.Discovery.Has(oauth.ExtensionExternalID) {
		found, err := server.AppByExternalID(ctx, c.ExternalID)
		if err == nil {
			return deleteUnlessAdopted(ctx, server, adoptions, found.ClientID, c)
		}
		if !registrar.IsNotFound(err) {
			return fmt.Errorf("looking for client %s: %w", c.ClientID, err)
		}
	} else if err := deleteByName(ctx, server, c.UniqueName); err != nil {
		return err
	}
	return deleteByID(ctx, server, adoptions, c)
}

func deleteUnlessAdopted(ctx context.Context, server *inventory.Connection, adoptions *adoption.Records, clientID string, c Client) error {
	record, err := adoptions.Of(ctx, c.TokenServer, server.Issuer, clientID)
	if err != nil {
		return err
	}
	if record.Owner != "" && record.Owner != c.ExternalID {
		return nil
	}
	return server.Delete(ctx, clientID)
}

// deleteByID is for what was registered without an external id.
func deleteByID(ctx context.Context, server *inventory.Connection, adoptions *adoption.Records, c Client) error {
	if c.ClientID == "" {
		return nil
	}
	if c.Adopted {
		return deleteUnlessAdopted(ctx, server, adoptions, c.ClientID, c)
	}
	app, err := server.App(ctx, c.ClientID, 0)
	switch {
	case registrar.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("looking for client %s: %w", c.ClientID, err)
	case app.ExternalID != "":
		return nil // somebody else's, or what is ours would have been found by it
	case app.ClientName == "" || app.ClientName != c.ClientName:
		return fmt.Errorf("client %s has the name %q, expected %q: %w; it is left as it is", c.ClientID, app.ClientName, c.ClientName, ErrNotProven)
	}
	return deleteUnlessAdopted(ctx, server, adoptions, c.ClientID, c)
}

// deleteByName deletes every client of a name that only we give.
func deleteByName(ctx context.Context, server *inventory.Connection, name string) error {
	if name == "" {
		return nil
	}
	var ids []string
	for offset := 0; ; {
		page, err := server.Client.List(ctx, offset, pageSize)
		if err != nil {
			return err
		}
		for i := range page.Apps {
			if page.Apps[i].ClientName == name && page.Apps[i].ExternalID == "" {
				ids = append(ids, page.Apps[i].ClientID)
			}
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			break
		}
	}
	for _, id := range ids {
		if err := server.Delete(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
