/* The embedded backend: SQLite in WAL mode as an append-only log.
 *
 *     log(rev, key, create_rev, prev_rev, sum, value)    value NULL: deleted
 *     meta(name, value)                                  epoch, compacted
 *
 * A batch is one transaction and one fsync. Rows are never changed; compaction removes the rows
 * that others superseded (each row names the one before it) up to a revision. Checkpoints run on
 * another connection and another thread, off the commit path, and only after writes: an idle store
 * writes nothing. A ballast file is given up when the disk is full, so that deletes still fit. */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>
#include <zlib.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/num.h"
#include "store/backend.h"
#include "wire/loop.h"

#define APPLICATION_ID 0x556d6961 /* "Umia" */
#define SCHEMA_VERSION 1
#define BALLAST_LEAST (1 << 20)
#define BALLAST_MOST (64 << 20)
#define COMPACT_CHUNK 1000	   /* revisions in one compaction transaction */
#define CHECKPOINT_PAGES 1000	   /* WAL pages from which a checkpoint starts */
#define CHECKPOINT_NOW_PAGES 16000 /* ... and from which commits wait for it */
#define DEFAULT_KEEP 10000

struct sqlite_store {
	struct um_store *store;
	struct um_loop *loop;
	sqlite3 *db, *checkpoint_db;
	sqlite3_stmt *insert, *begin, *commit, *rollback;
	int dirfd, lock_fd;
	char *dir;
	int64_t keep, inject_delay_ns;
	int checkpoint_pages, checkpoint_now_pages; /* so that a checkpoint fits in the ballast */
	int64_t head_rev, compacted_rev;	    /* worker's view */
	_Atomic int wal_pages;
	_Atomic bool checkpointing;
	_Atomic bool full;
	bool housekeeping;
	pthread_mutex_t house_lock; /* one worker at a time keeps house */
};

static int sql_error(struct um_error *err, sqlite3 *db, int rc, const char *what)
{
	int code = -EIO;
	enum um_reason reason = UM_REASON_INTERNAL;

	switch (rc & 0xff) {
	case SQLITE_FULL:
		code = -ENOSPC;
		break;
	case SQLITE_NOMEM:
		code = -ENOMEM;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		code = -EBADMSG;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		code = -EBUSY;
		break;
	case SQLITE_IOERR: {
		int sys = sqlite3_system_errno(db);

		if (rc == SQLITE_IOERR_SHMSIZE || sys == ENOSPC || sys == EDQUOT)
			code = -ENOSPC;
		break;
	}
	default:
		break;
	}
	if (code == -ENOSPC)
		reason = UM_REASON_NO_SPACE;
	else if (code == -ENOMEM)
		reason = UM_REASON_NO_MEMORY;
	return um_error_set_reason(err, reason, code, "store: %s: %s (%d)", what,
				   db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), rc);
}

static int exec(sqlite3 *db, const char *sql, struct um_error *err)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : sql_error(err, db, rc, sql);
}

static int64_t row_sum(const char *key, int64_t rev, const void *value, size_t len)
{
	uLong sum = crc32(0, (const Bytef *)key, (uInt)strlen(key));

	sum = crc32(sum, (const Bytef *)&rev, sizeof(rev));
	return (int64_t)crc32(sum, value ? value : (const void *)"", (uInt)len);
}

/* ---- committing, on a worker ---- */

static int insert_put(struct sqlite_store *q, const struct um_store_put *put)
{
	const char *value = put->value ? put->value->data : NULL;
	size_t len = put->value ? put->value->len : 0;
	int rc;

	sqlite3_bind_int64(q->insert, 1, put->rev);
	sqlite3_bind_text(q->insert, 2, put->key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(q->insert, 3, put->create_rev);
	sqlite3_bind_int64(q->insert, 4, put->prev_rev);
	sqlite3_bind_int64(q->insert, 5, row_sum(put->key, put->rev, value, len));
	if (put->value)
		sqlite3_bind_blob64(q->insert, 6, value, len, SQLITE_STATIC);
	else
		sqlite3_bind_null(q->insert, 6);
	rc = sqlite3_step(q->insert);
	sqlite3_reset(q->insert);
	sqlite3_clear_bindings(q->insert);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int step(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static void sleep_ns(int64_t ns)
{
	struct timespec t = {ns / UM_NSEC_PER_SEC, ns % UM_NSEC_PER_SEC};

	while (ns > 0 && nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static int write_batch(struct sqlite_store *q, const struct um_store_batch *b)
{
	int rc = step(q->begin);

	um_vec_foreach (w, &b->writes)
		for (size_t i = 0; i < (*w)->n && rc == SQLITE_OK; i++)
			rc = insert_put(q, &(*w)->puts[i]);
	UM_FAULT("store.before-commit");
	if (rc == SQLITE_OK) {
		sleep_ns(q->inject_delay_ns);
		rc = step(q->commit);
	}
	UM_FAULT("store.after-commit");
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(q->db)) {
		int again = rc;

		step(q->rollback);
		rc = again;
	}
	return rc;
}

static void commit(void *be, struct um_store_batch *b)
{
	struct sqlite_store *q = be;
	const struct um_store_write *last = b->writes.items[b->writes.len - 1];
	int rc = write_batch(q, b);

	if (rc != SQLITE_OK) {
		b->result = sql_error(&b->err, q->db, rc, "commit");
		if (b->result == -ENOSPC) { /* give the deletes room */
			(void)unlinkat(q->dirfd, "ballast", 0);
			q->full = true;
		} else if (b->result != -ENOMEM)
			b->result = b->err.code = -EIO;
		return;
	}
	b->result = 0;
	q->head_rev = last->puts[last->n - 1].rev;
	if (q->wal_pages > q->checkpoint_now_pages)
		sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
}

static int on_wal(void *arg, um_unused sqlite3 *db, um_unused const char *name, int pages)
{
	struct sqlite_store *q = arg;

	q->wal_pages = pages;
	return SQLITE_OK;
}

/* ---- housekeeping ---- */

static int bind_run(sqlite3 *db, const char *sql, int64_t a, int64_t b)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, a);
		sqlite3_bind_int64(st, 2, b);
		rc = step(st);
	}
	sqlite3_finalize(st);
	return rc;
}

/* Removes what rows in (from, to] superseded, and their tombstones, and notes @to: one transaction.
 * It runs on the checkpoint's connection; a commit that meets it waits on SQLite's own lock for the
 * few milliseconds that a chunk takes. */
static int compact_chunk(struct sqlite_store *q, int64_t from, int64_t to)
{
	sqlite3 *db = q->checkpoint_db;
	int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		rc = bind_run(db,
			      "DELETE FROM log WHERE rev IN (SELECT prev_rev FROM log "
			      "WHERE rev > ?1 AND rev <= ?2 AND prev_rev > 0)",
			      from, to);
	if (rc == SQLITE_OK)
		rc = bind_run(db, "DELETE FROM log WHERE rev > ?1 AND rev <= ?2 AND value IS NULL",
			      from, to);
	if (rc == SQLITE_OK)
		rc = bind_run(db, "INSERT OR REPLACE INTO meta VALUES ('compacted', ?2)", from, to);
	UM_FAULT("store.compacting");
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/* Compacts up to @target. */
static void compact_to(struct sqlite_store *q, int64_t target)
{
	while (q->compacted_rev < target) {
		int64_t to = q->compacted_rev + COMPACT_CHUNK;

		if (to > target)
			to = target;
		if (compact_chunk(q, q->compacted_rev, to) != SQLITE_OK)
			break; /* tried again after a later commit */
		q->compacted_rev = to;
	}
}

static void checkpoint(struct sqlite_store *q, int mode)
{
	sqlite3_wal_checkpoint_v2(q->checkpoint_db, NULL, mode, NULL, NULL);
}

/* On a full disk all history goes, and what it held goes back to the file system: the log first,
 * since everything else is written through it. */
static void reclaim(struct sqlite_store *q)
{
	checkpoint(q, SQLITE_CHECKPOINT_TRUNCATE);
	compact_to(q, q->head_rev);
	checkpoint(q, SQLITE_CHECKPOINT_TRUNCATE);
	sqlite3_exec(q->checkpoint_db, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
	checkpoint(q, SQLITE_CHECKPOINT_TRUNCATE);
}

static void keep_house(void *arg)
{
	struct sqlite_store *q = arg;
	int64_t target = q->head_rev - q->keep;

	pthread_mutex_lock(&q->house_lock);
	if (q->full) {
		reclaim(q);
	} else {
		if (target - q->compacted_rev >= q->keep)
			compact_to(q, target);
		checkpoint(q, SQLITE_CHECKPOINT_PASSIVE);
	}
	pthread_mutex_unlock(&q->house_lock);
}

static void on_house_kept(void *arg)
{
	struct sqlite_store *q = arg;

	q->housekeeping = false;
	um_store_set_compacted(q->store, q->compacted_rev);
}

static void after(void *be, int64_t durable_rev)
{
	struct sqlite_store *q = be;
	bool due = q->wal_pages >= q->checkpoint_pages ||
		   durable_rev - q->compacted_rev >= 2 * q->keep;

	if (!due || q->housekeeping)
		return;
	q->wal_pages = 0; /* the next commit counts anew */
	q->housekeeping = um_work_submit(q->loop, keep_house, on_house_kept, q) == 0;
}

/* ---- the ballast ---- */

/* A sixteenth of the file system, within bounds: enough for a checkpoint of the log. */
static off_t ballast_bytes(struct sqlite_store *q)
{
	struct statvfs fs;
	uint64_t part;

	if (fstatvfs(q->dirfd, &fs) < 0)
		return BALLAST_LEAST;
	part = (uint64_t)fs.f_blocks * fs.f_frsize / 16;
	return part < BALLAST_LEAST  ? BALLAST_LEAST
	       : part > BALLAST_MOST ? BALLAST_MOST
				     : (off_t)part;
}

static int make_ballast(struct sqlite_store *q)
{
	_cleanup_close_ int fd =
		openat(q->dirfd, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = -posix_fallocate(fd, 0, ballast_bytes(q));
	if (r < 0)
		(void)unlinkat(q->dirfd, "ballast", 0);
	return r;
}

/* SQLite makes its log and shared memory anew at each opening: on a full disk these need a little
 * room, which is kept from one opening to the next. */
#define RESERVE_BYTES (128 << 10)

static void give_reserve(struct sqlite_store *q)
{
	(void)unlinkat(q->dirfd, "reserve", 0);
}

static void take_reserve(struct sqlite_store *q)
{
	_cleanup_close_ int fd =
		openat(q->dirfd, "reserve", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	for (off_t bytes = RESERVE_BYTES; fd >= 0 && bytes >= 65536; bytes /= 2)
		if (posix_fallocate(fd, 0, bytes) == 0)
			break;
}

static bool has_room(void *be)
{
	struct sqlite_store *q = be;
	bool room;

	pthread_mutex_lock(&q->house_lock);
	reclaim(q);
	room = make_ballast(q) == 0;
	if (room)
		q->full = false;
	pthread_mutex_unlock(&q->house_lock);
	return room;
}

/* ---- the boot epoch ---- */

static int read_meta(sqlite3 *db, const char *name, int64_t *ret, struct um_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE name = ?1", -1, &st, NULL);

	*ret = 0;
	if (rc == SQLITE_OK) {
		sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW)
			*ret = sqlite3_column_int64(st, 0);
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sql_error(err, db, rc, "read meta");
}

static int next_epoch(void *be, int64_t *ret, struct um_error *err)
{
	struct sqlite_store *q = be;
	int64_t epoch;
	int r = read_meta(q->db, "epoch", &epoch, err);
	int rc;

	if (r < 0)
		return r;
	rc = bind_run(q->db, "INSERT OR REPLACE INTO meta VALUES ('epoch', ?1 + ?2)", epoch, 1);
	if ((rc & 0xff) == SQLITE_FULL) { /* a server must start on a full disk too */
		(void)unlinkat(q->dirfd, "ballast", 0);
		q->full = true;
		reclaim(q);
		rc = bind_run(q->db, "INSERT OR REPLACE INTO meta VALUES ('epoch', ?1 + ?2)", epoch,
			      1);
	}
	if (rc != SQLITE_OK)
		return sql_error(err, q->db, rc, "write the boot epoch");
	*ret = epoch + 1;
	return 0;
}

/* ---- opening ---- */

static void free_sqlite(struct sqlite_store *q)
{
	sqlite3_finalize(q->insert);
	sqlite3_finalize(q->begin);
	sqlite3_finalize(q->commit);
	sqlite3_finalize(q->rollback);
	sqlite3_close(q->checkpoint_db);
	sqlite3_close(q->db);
	um_close(q->lock_fd);
	um_close(q->dirfd);
	pthread_mutex_destroy(&q->house_lock);
	free(q->dir);
	free(q);
}

static void close_sqlite(void *be)
{
	struct sqlite_store *q = be;

	while (q->housekeeping)
		if (um_loop_step(q->loop, INT64_MAX) < 0)
			break;
	free_sqlite(q);
}

static const struct um_store_backend backend = {
	.commit = commit,
	.blocking = true,
	.after = after,
	.has_room = has_room,
	.next_epoch = next_epoch,
	.close = close_sqlite,
};

static int open_dir(struct sqlite_store *q, const char *dir, struct um_error *err)
{
	int r = um_io_mkdirs(AT_FDCWD, dir, 0700, err);

	if (r < 0)
		return r;
	q->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (q->dirfd < 0)
		return um_error_errno(err, -errno, "open %s", dir);
	if (fchmod(q->dirfd, 0700) < 0) /* Secrets are in here */
		return um_error_errno(err, -errno, "chmod %s", dir);
	q->lock_fd = openat(q->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (q->lock_fd < 0)
		return um_error_errno(err, -errno, "open %s/lock", dir);
	if (flock(q->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return um_error_set(err, -EBUSY, "store %s is in use by another process", dir);
	q->dir = strdup(dir);
	return q->dir ? 0 : um_error_errno(err, -ENOMEM, "open %s", dir);
}

static int open_db(struct sqlite_store *q, sqlite3 **ret, struct um_error *err)
{
	char path[4096];
	int r = um_io_path(path, sizeof(path), "%s/store.db", q->dir);
	int rc;

	if (r < 0)
		return um_error_errno(err, r, "open %s/store.db", q->dir);
	rc = sqlite3_open_v2(path, ret,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
				     SQLITE_OPEN_NOFOLLOW,
			     NULL);
	if (rc != SQLITE_OK)
		return sql_error(err, *ret, rc, path);
	sqlite3_extended_result_codes(*ret, 1);
	sqlite3_busy_timeout(*ret, 10000);
	return exec(*ret,
		    "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA "
		    "synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
		    "PRAGMA cache_size=-512; PRAGMA trusted_schema=0; PRAGMA temp_store=MEMORY;",
		    err);
}

static int read_pragma(sqlite3 *db, const char *sql, int64_t *ret, struct um_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : sql_error(err, db, rc, sql);
}

static int make_schema(struct sqlite_store *q, struct um_error *err)
{
	int64_t id = 0, version = 0, tables = 0;
	int r = read_pragma(q->db, "PRAGMA application_id", &id, err);

	if (r == 0)
		r = read_pragma(q->db, "PRAGMA user_version", &version, err);
	if (r == 0)
		r = read_pragma(q->db, "SELECT count(*) FROM sqlite_master", &tables, err);
	if (r < 0)
		return r;
	if (!tables)
		return exec(q->db,
			    "BEGIN IMMEDIATE;"
			    "CREATE TABLE log(rev INTEGER PRIMARY KEY, key TEXT NOT NULL,"
			    " create_rev INTEGER NOT NULL, prev_rev INTEGER NOT NULL,"
			    " sum INTEGER NOT NULL, value BLOB);"
			    "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
			    "PRAGMA application_id=1433233761; PRAGMA user_version=1; COMMIT;",
			    err);
	if (id != APPLICATION_ID)
		return um_error_set(err, -EBADMSG, "%s/store.db is not a store of Umiak's", q->dir);
	if (version != SCHEMA_VERSION)
		return um_error_set(err, -EBADMSG,
				    "%s/store.db has format %lld, this version knows %d", q->dir,
				    (long long)version, SCHEMA_VERSION);
	return 0;
}

static int prepare(struct sqlite_store *q, struct um_error *err)
{
	const struct {
		const char *sql;
		sqlite3_stmt **st;
	} statements[] = {
		{"INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)", &q->insert},
		{"BEGIN IMMEDIATE", &q->begin},
		{"COMMIT", &q->commit},
		{"ROLLBACK", &q->rollback},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(statements); i++) {
		int rc = sqlite3_prepare_v3(q->db, statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
					    statements[i].st, NULL);

		if (rc != SQLITE_OK)
			return sql_error(err, q->db, rc, statements[i].sql);
	}
	sqlite3_wal_hook(q->db, on_wal, q);
	return 0;
}

static int load_row(struct sqlite_store *q, sqlite3_stmt *st, struct um_error *err)
{
	_cleanup_bytes_ struct um_bytes *value = NULL;
	const char *key = (const char *)sqlite3_column_text(st, 1);
	const void *blob = sqlite3_column_blob(st, 5);
	size_t len = (size_t)sqlite3_column_bytes(st, 5);
	struct um_store_put put = {
		.rev = sqlite3_column_int64(st, 0),
		.create_rev = sqlite3_column_int64(st, 2),
		.prev_rev = sqlite3_column_int64(st, 3),
	};
	int r;

	if (!key || put.rev <= 0 || row_sum(key, put.rev, blob, len) != sqlite3_column_int64(st, 4))
		return um_error_set(err, -EBADMSG,
				    "%s/store.db is damaged: revision %lld (%s) does not match its "
				    "checksum; restore a backup",
				    q->dir, (long long)put.rev, key ? key : "no key");
	if (sqlite3_column_type(st, 5) != SQLITE_NULL && !(value = um_bytes_new(blob, len)))
		return um_error_errno(err, -ENOMEM, "load the store");
	put.key = (char *)(uintptr_t)key;
	put.value = value;
	r = um_store_load(q->store, &put);
	q->head_rev = put.rev;
	return r < 0 ? um_error_errno(err, r, "load the store") : 0;
}

static int load(struct sqlite_store *q, struct um_error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(
		q->db, "SELECT rev, key, create_rev, prev_rev, sum, value FROM log ORDER BY rev",
		-1, &st, NULL);
	int r = rc == SQLITE_OK ? 0 : sql_error(err, q->db, rc, "load");

	while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW)
		r = load_row(q, st, err);
	if (r == 0 && rc != SQLITE_DONE)
		r = sql_error(err, q->db, rc, "load");
	sqlite3_finalize(st);
	if (r == 0)
		r = read_meta(q->db, "compacted", &q->compacted_rev, err);
	if (r < 0)
		return r;
	um_store_set_compacted(q->store, q->compacted_rev);
	um_store_set_rev(q->store, q->compacted_rev);
	return 0;
}

static int open_all(struct sqlite_store *q, const struct um_store_sqlite_opts *opts,
		    struct um_error *err)
{
	int r = open_dir(q, opts->dir, err);

	if (r == 0)
		give_reserve(q);
	if (r == 0)
		r = open_db(q, &q->db, err);
	if (r == 0)
		r = make_schema(q, err);
	if (r == 0)
		r = open_db(q, &q->checkpoint_db, err);
	if (r == 0)
		r = prepare(q, err);
	if (r == 0) {
		int ballast_pages = (int)(ballast_bytes(q) / 4096);

		q->checkpoint_pages =
			ballast_pages / 4 < CHECKPOINT_PAGES ? ballast_pages / 4 : CHECKPOINT_PAGES;
		q->checkpoint_now_pages = ballast_pages / 2 < CHECKPOINT_NOW_PAGES
						  ? ballast_pages / 2
						  : CHECKPOINT_NOW_PAGES;
		take_reserve(q);
		r = make_ballast(q);
		if (r == -ENOSPC) /* a full disk must not keep reads from being served */
			r = 0;
		else if (r < 0)
			um_error_errno(err, r, "make %s/ballast", q->dir);
	}
	return r;
}

int um_store_open_sqlite(struct um_loop *l, const struct um_store_sqlite_opts *opts,
			 struct um_store **ret, struct um_error *err)
{
	struct sqlite_store *q = calloc(1, sizeof(*q));
	struct um_store_config cfg = {
		.backend = &backend,
		.be = q,
		.history_events = 8192,
		.history_bytes = 2 << 20,
	};
	int r;

	if (!q)
		return um_error_errno(err, -ENOMEM, "open the store");
	q->loop = l;
	q->dirfd = q->lock_fd = -1;
	pthread_mutex_init(&q->house_lock, NULL);
	q->keep = opts->compact_keep ? opts->compact_keep : DEFAULT_KEEP;
	q->inject_delay_ns = opts->inject_fsync_delay_ns;
	r = open_all(q, opts, err);
	if (r < 0) {
		free_sqlite(q);
		return r;
	}
	r = um_store_new(l, &cfg, &q->store);
	if (r < 0) {
		free_sqlite(q);
		return um_error_errno(err, r, "open the store");
	}
	r = load(q, err);
	if (r < 0) {
		um_store_close(q->store);
		return r;
	}
	*ret = q->store;
	return 0;
}
