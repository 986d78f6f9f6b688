// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package state keeps what the emulators hold: documents in one SQLite file that
// several processes share.
package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver; pure Go
)

// Store is a state directory's documents.
type Store struct{ db *sql.DB }

// Open opens or makes state.db in dir.
func Open(dir string) (*Store, error) {
	settings := url.Values{"_pragma": {"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(OFF)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(dir, "state.db"))+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one writer at a time anyway; more would only wait inside SQLite
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS documents (kind TEXT NOT NULL, key TEXT NOT NULL, document BLOB NOT NULL,
		PRIMARY KEY (kind, key)) WITHOUT ROWID`)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the rehearsal state in %s: %w", dir, err), db.Close())
	}
	return &Store{db}, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Do runs f in one transaction, alone among all processes. An error of f undoes
// what it did.
func (s *Store) Do(ctx context.Context, f func(tx *Tx) error) (err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the error that led here says more
		}
	}()
	if err := f(&Tx{ctx, tx}); err != nil {
		return err
	}
	return tx.Commit()
}

// Tx is a transaction.
type Tx struct {
	ctx context.Context //nolint:containedctx // a transaction lives as long as its request
	tx  *sql.Tx
}

// Get reads a document into v. found is false when there is none.
func (t *Tx) Get(kind, key string, v any) (found bool, err error) {
	var data []byte
	err = t.tx.QueryRowContext(t.ctx, "SELECT document FROM documents WHERE kind = ? AND key = ?", kind, key).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(data, v)
}

// Put writes a document.
func (t *Tx) Put(kind, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.tx.ExecContext(t.ctx, "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document", kind, key, data)
	return err
}

// Delete removes a document; absent is fine.
func (t *Tx) Delete(kind, key string) error {
	_, err := t.tx.ExecContext(t.ctx, "DELETE FROM documents WHERE kind = ? AND key = ?", kind, key)
	return err
}

// Each calls f with every document whose key begins with prefix, in the order of
// the keys. f may not use the transaction.
func (t *Tx) Each(kind, prefix string, f func(key string, document []byte) error) error {
	rows, err := t.tx.QueryContext(t.ctx, "SELECT key, document FROM documents WHERE kind = ? AND key >= ? AND key < ? ORDER BY key", kind, prefix, prefix+last)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var data []byte
		if err := rows.Scan(&key, &data); err != nil {
			return err
		}
		if err := f(key, data); err != nil {
			return err
		}
	}
	return rows.Err()
}

// last is behind every key that begins with what stands before it.
const last = "\U0010FFFF"

// Keys lists the keys that begin with prefix, in their order: from the key after
// one, unless that is "", and at most so many, unless that is 0.
func (t *Tx) Keys(kind, prefix, after string, limit int) (keys []string, err error) {
	if limit <= 0 {
		limit = -1
	}
	from := max(prefix, after)
	rows, err := t.tx.QueryContext(t.ctx, "SELECT key FROM documents WHERE kind = ? AND key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?", kind, from, prefix+last, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// Raw reads a document as it is kept, nil when there is none.
func (t *Tx) Raw(kind, key string) ([]byte, error) {
	var data []byte
	err := t.tx.QueryRowContext(t.ctx, "SELECT document FROM documents WHERE kind = ? AND key = ?", kind, key).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return data, err
}

// Next counts from 1.
func (t *Tx) Next(counter string) (int, error) {
	n := 0
	if _, err := t.Get("counter", counter, &n); err != nil {
		return 0, err
	}
	n++
	return n, t.Put("counter", counter, n)
}

// Peek reads a counter without keeping other processes from writing.
func (s *Store) Peek(ctx context.Context, counter string) (n int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT document FROM documents WHERE kind = 'counter' AND key = ?", counter).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, err
}

// First is the first key of a kind, "" if there is none; it keeps nobody from writing
// either.
func (s *Store) First(ctx context.Context, kind string) (key string, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT key FROM documents WHERE kind = ? ORDER BY key LIMIT 1", kind).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return key, err
}
