// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"strings"
	"time"
)

// ErrNotFound says that no such record exists.
var ErrNotFound = errors.New("not found")

// ErrAlreadyExists says that a record with the same identity exists; nothing
// was written.
var ErrAlreadyExists = errors.New("already exists")

// ErrInvalidText says that a text holds NUL or is not UTF-8; no engine stores it.
var ErrInvalidText = errors.New("text holds NUL or is not UTF-8")

// ErrUnavailable says that the database gave no answer: nothing is known about
// what was asked, so that the caller must neither grant nor refuse for good.
var ErrUnavailable = errors.New("the database does not answer")

// ErrWentBack says that the database lacks what this process has committed to it.
var ErrWentBack = errors.New("the database lacks what was committed")

// ErrReplaced says that the database is not the one it was when the server was
// started; it is ErrUnavailable as well.
var ErrReplaced = errors.New("this is not the database that the server was started with")

// ErrFull says that the disk, or the size the database may have, is used up.
var ErrFull = errors.New("no space left for the database")

// ErrRolledBack says that the engine undid a transaction for the sake of another
// one: nothing of it was kept, and it may be done again.
var ErrRolledBack = errors.New("rolled back for the sake of another transaction")

// ErrNewerSchema says that a later release of the token server wrote the
// database.
var ErrNewerSchema = errors.New("the database belongs to a later release")

// ErrInUse says that another process has the database open.
var ErrInUse = errors.New("the database is in use by another process")

// App is a connected app with all that belongs to it. It is read and written
// as a whole: engines keep it as JSON, without what is zero.
type App struct {
	// ClientID is unique in the server, immutable; 32 lower-case hex digits unless it
	// was chosen.
	ClientID string `json:",omitzero"`
	// OrgID is the organization the app was created in.
	OrgID string `json:",omitzero"`
	// ExternalID is unique within OrgID; empty means none.
	ExternalID string `json:",omitzero"`
	Name       string `json:",omitzero"`
	// GrantTypes are those of package oauth.
	GrantTypes   []string `json:",omitzero"`
	RedirectURIs []string `json:",omitzero"`
	// Scopes are plain names, for an app that acts for a user.
	Scopes []string `json:",omitzero"`
	// ContextScopes keep the order in which they were assigned.
	ContextScopes []ContextScope `json:",omitzero"`
	// PublicKeys are PEM, byte for byte as sent.
	PublicKeys []string `json:",omitzero"`
	// FederatedIdentities are the workloads whose tokens authenticate the app.
	FederatedIdentities []FederatedIdentity `json:",omitzero"`
	// Audience is internal or everyone.
	Audience                     string `json:",omitzero"`
	ClientURI, PolicyURI, TOSURI string `json:",omitzero"` // empty: null on the wire
	Enabled                      bool   `json:",omitzero"`
	OwnerUserID, OwnerOrgID      string `json:",omitzero"`
	GenerateISSClaimWithoutToken bool   `json:",omitzero"`
	IDProviderID                 string `json:",omitzero"` // empty: null on the wire
	TokenEndpointAuthMethod      string `json:",omitzero"`
	// AccessTokenFormat is jwt or opaque; empty: a JWT while it is short.
	AccessTokenFormat string `json:",omitzero"`
	// IDTokenAlg and AccessTokenAlg sign its tokens; empty: the server's default.
	IDTokenAlg, AccessTokenAlg string   `json:",omitzero"`
	PostLogoutRedirectURIs     []string `json:",omitzero"`
	IdentityProviders          []string `json:",omitzero"`
	SkipUserConsent            bool     `json:",omitzero"`
	// RefreshGrace is nil for the server's default, zero for off.
	RefreshGrace *time.Duration `json:",omitzero"`
	// AssertionsWithoutExpiry takes assertions of the JWT bearer grant that have
	// no exp.
	AssertionsWithoutExpiry bool `json:",omitzero"`
	// SecurityVersion grows with every change that gives somebody power over what
	// the app receives; consent is to one version (docs/privileges.md).
	SecurityVersion int64 `json:",omitzero"`
	// SecurityBy is in whose hands the app is: who made that version, or an
	// administrator who has made a secret since. "user " or "client " and an id.
	SecurityBy string `json:",omitzero"`
	// Config names the app of the configuration (bootstrap.adminClient or one of
	// apps); such an app cannot be changed through the management API. Empty: none.
	Config string `json:",omitzero"`
	// Secrets are the live and the retired ones, oldest first.
	Secrets              []Secret  `json:",omitzero"`
	CreatedAt, UpdatedAt time.Time `json:",omitzero"`
	// SecretUpdatedAt is when a secret was last made or ended; zero: never.
	SecretUpdatedAt time.Time `json:",omitzero"`
	// Revision grows with every write; set by the engine.
	Revision int64 `json:",omitzero"`
}

// byClient begins the SecurityBy of an app, as against an administrator.
const byClient = "client "

// ChangedHands tells whether another app than before has made a new security
// version of an app that acts for users: nobody allowed that one anything.
func (a *App) ChangedHands(before App) bool {
	forUsers := len(a.Scopes) > 0 || len(before.Scopes) > 0
	return forUsers && strings.HasPrefix(a.SecurityBy, byClient) && a.SecurityBy != before.SecurityBy && a.SecurityVersion != before.SecurityVersion
}

// ContextScope is a scope within an organization and an environment; either
// may be empty.
type ContextScope struct{ Scope, Org, EnvID string }

// FederatedIdentity is a workload of an issuer of the configuration.
type FederatedIdentity struct{ IssuerName, Subject string }

// Secret is one client secret of an app.
type Secret struct {
	ID string
	// Hash is HMAC-SHA-256 of the value under the secret-hash key.
	Hash []byte
	// Sealed is the encrypted value when secrets are recoverable, else nil.
	Sealed    []byte
	CreatedAt time.Time
	// ExpiresAt is when it stops being accepted; zero: never. A secret whose
	// time has come is retired: kept for recognition, accepted no more.
	ExpiresAt time.Time
	// LastUsedAt is written behind by TouchSecrets; zero: never used. Update
	// leaves it alone.
	LastUsedAt time.Time
}

// Live tells whether s is accepted at now.
func (s Secret) Live(now time.Time) bool {
	return s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt)
}

// AppQuery selects apps of one organization in the stable order (created_at,
// client_id).
type AppQuery struct {
	OrgID string
	// Search is a case-insensitive substring over the app's properties; empty:
	// all.
	Search string
	// ExternalID matches exactly; empty: all.
	ExternalID    string
	Offset, Limit int
}

// Apps is the role of the management API.
type Apps interface {
	// CreateApp stores a new app; ErrAlreadyExists when its client id or its
	// external id is taken. A client id that ever belonged to another
	// organization counts as taken.
	CreateApp(ctx context.Context, app App) (App, error)
	// App returns the app or ErrNotFound.
	App(ctx context.Context, clientID string) (App, error)
	// AppByExternalID returns the app or ErrNotFound.
	AppByExternalID(ctx context.Context, orgID, externalID string) (App, error)
	// Apps returns one page, without secrets, and the number of all matches; apps of
	// the configuration are none.
	Apps(ctx context.Context, q AppQuery) ([]App, int, error)
	// AllApps calls visit with every app, for the in-memory view. It stops at
	// the first error and returns it.
	AllApps(ctx context.Context, visit func(App) error) error
	// ConfiguredApps are the client ids of the apps of the configuration.
	ConfiguredApps(ctx context.Context) ([]string, error)
	// UpdateApp applies change to the stored app in one transaction; change may
	// run twice and must not keep what it is given. An error of change is
	// returned and nothing is written. When change alters nothing, nothing is
	// written either and the revision stays. An app that is switched off or
	// ChangedHands has its epoch raised in the same transaction. ErrNotFound when there is none.
	UpdateApp(ctx context.Context, clientID string, now time.Time, change func(*App) error) (App, error)
	// DeleteApp removes the app with all that hangs on it, frees its external id
	// and raises its epoch, in one transaction; ErrNotFound when there is none.
	DeleteApp(ctx context.Context, clientID string, now time.Time) (Epoch, error)
	// TouchSecrets raises last_used_at by secret id; unknown ids are ignored
	// and no revision changes.
	TouchSecrets(ctx context.Context, used map[string]time.Time) error
	// CountApps returns how many apps an organization has, without those of the
	// configuration.
	CountApps(ctx context.Context, orgID string) (int, error)
}

// ChangeKind says what a change is about.
type ChangeKind string

// Kinds of change; Key of the Change is named for each.
const (
	// ChangeApp: Key is the client id of an app made, changed or deleted.
	ChangeApp ChangeKind = "app"
	// ChangeEpoch: Key is the epoch's kind, a space and its key.
	ChangeEpoch ChangeKind = "epoch"
	// ChangeEnded: Key is the EndedToken's kind, a space and its key.
	ChangeEnded ChangeKind = "ended"
	// ChangeSigningKeys: Key is empty; read them all again.
	ChangeSigningKeys ChangeKind = "signing_keys"
)

// Change is one entry of the feed that replicas follow. It is written in the
// transaction of the change itself; At says from when on it is kept for a while.
type Change struct {
	ID   int64
	Kind ChangeKind
	Key  string
	At   time.Time
}

// Feed is the role of a replica that keeps records in memory.
type Feed interface {
	// Changes returns the entries whose ID is at least from, in its order. Entries
	// appear in another: one with a smaller ID may be committed later. The last of all
	// that are too old to be kept is kept, so that a database that has gone back in
	// time can be told. Errors: ErrReplaced when it is another database; ErrWentBack,
	// once, when entries are missing that this process committed since the last call.
	Changes(ctx context.Context, from int64) ([]Change, error)
	// LatestChanges returns those with the n greatest IDs, likewise.
	LatestChanges(ctx context.Context, n int) ([]Change, error)
	// Writers names the transactions under way that may commit an entry. An entry that
	// was begun before and is not there yet is of one of them, however long that takes.
	Writers(ctx context.Context) ([]string, error)
}

// DataKeyPurpose names what a data key is for.
type DataKeyPurpose string

// Purposes of data keys (tokenserver.md 6).
const (
	PurposeSecretHash DataKeyPurpose = "secret-hash"
	PurposeRefresh    DataKeyPurpose = "refresh"
	PurposeSealing    DataKeyPurpose = "sealing"
	PurposeCookie     DataKeyPurpose = "cookie"
)

// DataKey is a symmetric key, wrapped by an encryption key that the database
// never holds.
type DataKey struct {
	Purpose DataKeyPurpose
	// Wrapped is the ciphertext; WrappedBy names the encryption key.
	Wrapped   []byte
	WrappedBy string
	CreatedAt time.Time
}

// SigningKey is a private key that signs tokens, wrapped likewise.
type SigningKey struct {
	// ID is the kid.
	ID string
	// Algorithm is ES256 or RS256.
	Algorithm string
	// Public is the public key as PKIX DER.
	Public    []byte
	Wrapped   []byte
	WrappedBy string
	CreatedAt time.Time
	// ActiveAt is when it may sign; it is published from CreatedAt on.
	ActiveAt time.Time
	// RetiredAt is when it stopped signing; zero: it has not.
	RetiredAt time.Time
	// ExpiresAt is when the last token it signed has expired and it leaves the
	// JWK Set; zero: unknown yet.
	ExpiresAt time.Time
}

// SigningKeySet is all signing keys at one moment.
type SigningKeySet struct {
	// Keys are those not yet expired, oldest first.
	Keys []SigningKey
	// Version grows with every change of the set: of two reads the one with the
	// higher version is the newer.
	Version int64
}

// KeyReader is the part of Keys that only reads.
type KeyReader interface {
	// DataKeys returns all; none on a new database.
	DataKeys(ctx context.Context) ([]DataKey, error)
	// SigningKeys returns the set.
	SigningKeys(ctx context.Context) (SigningKeySet, error)
}

// Keys is the role of key management.
type Keys interface {
	KeyReader
	// CreateDataKeys stores the first set. ErrAlreadyExists when any exists:
	// another replica was faster, read them again.
	CreateDataKeys(ctx context.Context, keys []DataKey) error
	// UpdateSigningKeys applies change to the set in one transaction, in which
	// no other replica can do the same; change may run twice.
	UpdateSigningKeys(ctx context.Context, change func([]SigningKey) ([]SigningKey, error)) (SigningKeySet, error)
	// RewrapKeys calls rewrap with the purpose of every data key and the id of
	// every signing key, in one transaction, and stores what it returns.
	RewrapKeys(ctx context.Context, rewrap func(name string, wrapped []byte, wrappedBy string) ([]byte, string, error)) error
}

// Installation identifies a database.
type Installation interface {
	// InstallationID is a UUID made with the database and never changed.
	// ErrReplaced when it is another than before.
	InstallationID(ctx context.Context) (string, error)
}

// Collector removes what is past its use.
type Collector interface {
	// CollectGarbage deletes at most batch rows of each kind that had expired
	// before now: retired secrets kept longer than 90 days, ended tokens, expired
	// signing keys, codes an hour after their end, refresh families, sessions,
	// feed entries older than an hour, epochs of apps deleted longer ago than any
	// token lives. It returns how many went by table; when none is at batch,
	// nothing is left.
	CollectGarbage(ctx context.Context, now time.Time, batch int) (map[string]int, error)
	// Size is how many bytes the database takes.
	Size(ctx context.Context) (int64, error)
}

// Pool is a pool of connections to the database at one moment.
type Pool struct {
	// Name tells the pools of an engine apart: "read" and "write", or "read_write"
	// where one serves both.
	Name string
	// Limit is how many may be open; Open are, and InUse of these are at work.
	Limit, Open, InUse int
	// Waits is how often somebody had to wait for a connection since the start, and
	// Waited how long in all.
	Waits  int64
	Waited time.Duration
}

// Storage is the union; only engines and the server's construction see it.
type Storage interface {
	Apps
	Feed
	Keys
	Ended
	OpaqueTokens
	Assertions
	AuthorizationCodes
	RefreshFamilies
	Sessions
	Consents
	Users
	Installation
	Collector
	// Ping tells whether the database answers.
	Ping(ctx context.Context) error
	// Clock sets the clock of the feed's entries; without it time.Now is.
	Clock(now func() time.Time)
	// Measure calls observe after every statement, and after the begin and the
	// commit of every transaction, with what was done ("select apps"), how long
	// that took and its error. The names are few. A later call replaces observe.
	Measure(observe func(operation string, took time.Duration, err error))
	// Pools are the pools of connections, in the same order each time. It never
	// waits for the database.
	Pools() []Pool
	Close() error
}
