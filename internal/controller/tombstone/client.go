// SPDX-License-Identifier: Apache-2.0

package tombstone

import (
	"context"
	"errors"
	"fmt"

	"connectedapps.dev/operator/internal/controller/identity"
	"connectedapps.dev/operator/internal/controller/ownership"
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
	// UniqueName is the name that a client gets first on a server without
	// external ids, unique to its ConnectedApp: whatever has it is deleted. Empty:
	// there is no such name.
	UniqueName string
	// Owned: the manager remembers that ClientID is the ConnectedApp's, where no mark
	// on the server tells.
	Owned bool
}

// ErrNotProven is the error about a client that may be somebody else's, which is
// left as it is.
var ErrNotProven = errors.New("it cannot be told whose it is")

// pageSize is the number of rows to ask for.
const pageSize = 200

// deleteClient deletes a client of ours, and is safe to repeat. One that is gone
// is no error, nor is one that another ConnectedApp took over since: that has it
// now. The error is one of package registrar or of the API server.
func deleteClient(ctx context.Context, server *inventory.Connection, owners *ownership.Records, c Client) error {
	if server.Discovery.Has(oauth.ExtensionExternalID) {
		found, err := server.AppByExternalID(ctx, c.ExternalID)
		if err != nil && !registrar.IsNotFound(err) {
			return fmt.Errorf("looking for client %s: %w", c.ClientID, err)
		}
		if err == nil {
			if err := deleteByID(ctx, server, owners, found.ClientID, c); err != nil {
				return err
			}
		}
	} else if err := deleteByName(ctx, server, c.UniqueName); err != nil {
		return err
	}
	if !c.Owned {
		return nil // what a status says is no proof
	}
	return deleteByID(ctx, server, owners, c.ClientID, c)
}

// deleteByID deletes a client, and the memory of whose it was.
func deleteByID(ctx context.Context, server *inventory.Connection, owners *ownership.Records, clientID string, c Client) error {
	record, err := owners.Of(ctx, c.TokenServer, server.Issuer, clientID)
	if err != nil {
		return err
	}
	if record.Owner != "" && record.Owner != c.ExternalID {
		return nil
	}
	if err := server.Delete(ctx, clientID); err != nil {
		return err
	}
	return owners.Forget(ctx, record)
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
