-- The schema of Buildbot 4.3 (alembic revision 067) for SQLite, as `buildbot create-master` makes it.

-- Masters, and what is in their configurations.

CREATE TABLE masters (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    active INTEGER NOT NULL,
    last_active INTEGER NOT NULL
);
CREATE UNIQUE INDEX master_name_hashes ON masters (name_hash);

CREATE TABLE projects (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    slug VARCHAR(50) NOT NULL,
    description TEXT,
    description_format TEXT,
    description_html TEXT
);
CREATE UNIQUE INDEX projects_name_hash ON projects (name_hash);

CREATE TABLE codebases (
    id INTEGER NOT NULL PRIMARY KEY,
    projectid INTEGER NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    slug VARCHAR(50) NOT NULL
);
CREATE UNIQUE INDEX codebases_projects_name_hash ON codebases (projectid, name_hash);

CREATE TABLE codebase_branches (
    id INTEGER NOT NULL PRIMARY KEY,
    codebaseid INTEGER NOT NULL REFERENCES codebases (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    commitid INTEGER REFERENCES codebase_commits (id) ON DELETE SET NULL,
    last_timestamp INTEGER NOT NULL
);
CREATE UNIQUE INDEX codebase_branches_unique ON codebase_branches (codebaseid, name_hash);

CREATE TABLE codebase_commits (
    id INTEGER NOT NULL PRIMARY KEY,
    codebaseid INTEGER NOT NULL REFERENCES codebases (id) ON DELETE CASCADE,
    author VARCHAR(255) NOT NULL,
    committer VARCHAR(255),
    comments TEXT NOT NULL,
    when_timestamp INTEGER NOT NULL,
    revision VARCHAR(70) NOT NULL,
    parent_commitid INTEGER REFERENCES codebase_commits (id) ON DELETE SET NULL
);
CREATE UNIQUE INDEX codebase_commits_unique ON codebase_commits (codebaseid, revision);

CREATE TABLE builders (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    description_format TEXT,
    description_html TEXT,
    projectid INTEGER CONSTRAINT fk_builders_projectid REFERENCES projects (id) ON DELETE SET NULL,
    name_hash VARCHAR(40) NOT NULL
);
CREATE INDEX builders_projectid ON builders (projectid);
CREATE UNIQUE INDEX builder_name_hash ON builders (name_hash);

CREATE TABLE tags (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL
);
CREATE UNIQUE INDEX tag_name_hash ON tags (name_hash);

CREATE TABLE builders_tags (
    id INTEGER NOT NULL PRIMARY KEY,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    tagid INTEGER NOT NULL REFERENCES tags (id) ON DELETE CASCADE
);
CREATE INDEX builders_tags_builderid ON builders_tags (builderid);
CREATE UNIQUE INDEX builders_tags_unique ON builders_tags (builderid, tagid);

CREATE TABLE builder_masters (
    id INTEGER NOT NULL PRIMARY KEY,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    masterid INTEGER NOT NULL REFERENCES masters (id) ON DELETE CASCADE
);
CREATE INDEX builder_masters_builderid ON builder_masters (builderid);
CREATE INDEX builder_masters_masterid ON builder_masters (masterid);
CREATE UNIQUE INDEX builder_masters_identity ON builder_masters (builderid, masterid);

CREATE TABLE workers (
    id INTEGER NOT NULL PRIMARY KEY,
    name VARCHAR(50) NOT NULL,
    info TEXT NOT NULL,
    paused SMALLINT DEFAULT '0' NOT NULL,
    pause_reason TEXT,
    graceful SMALLINT DEFAULT '0' NOT NULL
);
CREATE UNIQUE INDEX workers_name ON workers (name);

CREATE TABLE configured_workers (
    id INTEGER NOT NULL PRIMARY KEY,
    buildermasterid INTEGER NOT NULL REFERENCES builder_masters (id) ON DELETE CASCADE,
    workerid INTEGER NOT NULL REFERENCES workers (id) ON DELETE CASCADE
);
CREATE INDEX configured_workers_buildmasterid ON configured_workers (buildermasterid);
CREATE INDEX configured_workers_workers ON configured_workers (workerid);
CREATE UNIQUE INDEX configured_workers_identity ON configured_workers (buildermasterid, workerid);

CREATE TABLE connected_workers (
    id INTEGER NOT NULL PRIMARY KEY,
    masterid INTEGER NOT NULL REFERENCES masters (id) ON DELETE CASCADE,
    workerid INTEGER NOT NULL REFERENCES workers (id) ON DELETE CASCADE
);
CREATE INDEX connected_workers_masterid ON connected_workers (masterid);
CREATE INDEX connected_workers_workers ON connected_workers (workerid);
CREATE UNIQUE INDEX connected_workers_identity ON connected_workers (masterid, workerid);

CREATE TABLE schedulers (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL,
    enabled SMALLINT DEFAULT '1'
);
CREATE UNIQUE INDEX scheduler_name_hash ON schedulers (name_hash);

CREATE TABLE scheduler_masters (
    schedulerid INTEGER NOT NULL PRIMARY KEY REFERENCES schedulers (id) ON DELETE CASCADE,
    masterid INTEGER NOT NULL REFERENCES masters (id) ON DELETE CASCADE
);

CREATE TABLE changesources (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    name_hash VARCHAR(40) NOT NULL
);
CREATE UNIQUE INDEX changesource_name_hash ON changesources (name_hash);

CREATE TABLE changesource_masters (
    changesourceid INTEGER NOT NULL PRIMARY KEY REFERENCES changesources (id) ON DELETE CASCADE,
    masterid INTEGER NOT NULL REFERENCES masters (id) ON DELETE CASCADE
);

-- What to build.

CREATE TABLE patches (
    id INTEGER NOT NULL PRIMARY KEY,
    patchlevel INTEGER NOT NULL,
    patch_base64 TEXT NOT NULL,
    patch_author TEXT NOT NULL,
    patch_comment TEXT NOT NULL,
    subdir TEXT
);

CREATE TABLE sourcestamps (
    id INTEGER NOT NULL PRIMARY KEY,
    ss_hash VARCHAR(40) NOT NULL,
    branch VARCHAR(256),
    revision VARCHAR(256),
    patchid INTEGER REFERENCES patches (id) ON DELETE CASCADE,
    repository VARCHAR(512) DEFAULT '' NOT NULL,
    codebase VARCHAR(256) DEFAULT '' NOT NULL,
    project VARCHAR(512) DEFAULT '' NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX sourcestamps_ss_hash_key ON sourcestamps (ss_hash);

CREATE TABLE changes (
    changeid INTEGER NOT NULL PRIMARY KEY,
    author VARCHAR(255) NOT NULL,
    committer VARCHAR(255),
    comments TEXT NOT NULL,
    branch VARCHAR(255),
    revision VARCHAR(255),
    revlink VARCHAR(256),
    when_timestamp INTEGER NOT NULL,
    category VARCHAR(255),
    repository VARCHAR(512) DEFAULT '' NOT NULL,
    codebase VARCHAR(256) DEFAULT '' NOT NULL,
    project VARCHAR(512) DEFAULT '' NOT NULL,
    sourcestampid INTEGER NOT NULL REFERENCES sourcestamps (id) ON DELETE CASCADE,
    parent_changeids INTEGER REFERENCES changes (changeid) ON DELETE SET NULL
);
CREATE INDEX changes_author ON changes (author);
CREATE INDEX changes_branch ON changes (branch);
CREATE INDEX changes_category ON changes (category);
CREATE INDEX changes_revision ON changes (revision);
CREATE INDEX changes_sourcestampid ON changes (sourcestampid);
CREATE INDEX changes_when_timestamp ON changes (when_timestamp);

CREATE TABLE change_files (
    changeid INTEGER NOT NULL REFERENCES changes (changeid) ON DELETE CASCADE,
    filename VARCHAR(1024) NOT NULL
);
CREATE INDEX change_files_changeid ON change_files (changeid);

CREATE TABLE change_properties (
    changeid INTEGER NOT NULL REFERENCES changes (changeid) ON DELETE CASCADE,
    property_name VARCHAR(256) NOT NULL,
    property_value TEXT NOT NULL
);
CREATE INDEX change_properties_changeid ON change_properties (changeid);

CREATE TABLE change_users (
    changeid INTEGER NOT NULL REFERENCES changes (changeid) ON DELETE CASCADE,
    uid INTEGER NOT NULL REFERENCES users (uid) ON DELETE CASCADE
);
CREATE INDEX change_users_changeid ON change_users (changeid);

CREATE TABLE users (
    uid INTEGER NOT NULL PRIMARY KEY,
    identifier VARCHAR(255) NOT NULL,
    bb_username VARCHAR(128),
    bb_password VARCHAR(128)
);
CREATE UNIQUE INDEX users_bb_user ON users (bb_username);
CREATE UNIQUE INDEX users_identifier ON users (identifier);

CREATE TABLE users_info (
    uid INTEGER NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    attr_type VARCHAR(128) NOT NULL,
    attr_data VARCHAR(128) NOT NULL
);
CREATE INDEX users_info_uid ON users_info (uid);
CREATE UNIQUE INDEX users_info_attrs ON users_info (attr_type, attr_data);
CREATE UNIQUE INDEX users_info_uid_attr_type ON users_info (uid, attr_type);

CREATE TABLE scheduler_changes (
    schedulerid INTEGER NOT NULL REFERENCES schedulers (id) ON DELETE CASCADE,
    changeid INTEGER NOT NULL REFERENCES changes (changeid) ON DELETE CASCADE,
    important INTEGER
);
CREATE INDEX scheduler_changes_changeid ON scheduler_changes (changeid);
CREATE INDEX scheduler_changes_schedulerid ON scheduler_changes (schedulerid);
CREATE UNIQUE INDEX scheduler_changes_unique ON scheduler_changes (schedulerid, changeid);

-- What is asked for.

CREATE TABLE buildsets (
    id INTEGER NOT NULL PRIMARY KEY,
    external_idstring VARCHAR(256),
    reason VARCHAR(256),
    submitted_at INTEGER NOT NULL,
    complete SMALLINT DEFAULT '0' NOT NULL,
    complete_at INTEGER,
    results SMALLINT,
    parent_buildid INTEGER CONSTRAINT parent_buildid REFERENCES builds (id) ON DELETE SET NULL,
    parent_relationship TEXT,
    rebuilt_buildid INTEGER CONSTRAINT rebuilt_buildid REFERENCES builds (id) ON DELETE SET NULL
);
CREATE INDEX buildsets_complete ON buildsets (complete);
CREATE INDEX buildsets_submitted_at ON buildsets (submitted_at);

CREATE TABLE buildset_properties (
    buildsetid INTEGER NOT NULL REFERENCES buildsets (id) ON DELETE CASCADE,
    property_name VARCHAR(256) NOT NULL,
    property_value TEXT NOT NULL
);
CREATE INDEX buildset_properties_buildsetid ON buildset_properties (buildsetid);

CREATE TABLE buildset_sourcestamps (
    id INTEGER NOT NULL PRIMARY KEY,
    buildsetid INTEGER NOT NULL REFERENCES buildsets (id) ON DELETE CASCADE,
    sourcestampid INTEGER NOT NULL REFERENCES sourcestamps (id) ON DELETE CASCADE
);
CREATE INDEX buildset_sourcestamps_buildsetid ON buildset_sourcestamps (buildsetid);
CREATE UNIQUE INDEX buildset_sourcestamps_unique ON buildset_sourcestamps (buildsetid, sourcestampid);

CREATE TABLE buildrequests (
    id INTEGER NOT NULL PRIMARY KEY,
    buildsetid INTEGER NOT NULL REFERENCES buildsets (id) ON DELETE CASCADE,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    priority INTEGER DEFAULT '0' NOT NULL,
    complete INTEGER DEFAULT '0',
    results SMALLINT,
    submitted_at INTEGER NOT NULL,
    complete_at INTEGER,
    waited_for SMALLINT DEFAULT '0'
);
CREATE INDEX buildrequests_builderid ON buildrequests (builderid);
CREATE INDEX buildrequests_buildsetid ON buildrequests (buildsetid);
CREATE INDEX buildrequests_complete ON buildrequests (complete);

CREATE TABLE buildrequest_claims (
    brid INTEGER NOT NULL REFERENCES buildrequests (id) ON DELETE CASCADE,
    masterid INTEGER NOT NULL REFERENCES masters (id) ON DELETE CASCADE,
    claimed_at INTEGER NOT NULL
);
CREATE INDEX ix_buildrequest_claims_masterid ON buildrequest_claims (masterid);
CREATE UNIQUE INDEX buildrequest_claims_brids ON buildrequest_claims (brid);

-- What is done.

CREATE TABLE builds (
    id INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    buildrequestid INTEGER NOT NULL CONSTRAINT buildrequestid REFERENCES buildrequests (id) ON DELETE CASCADE,
    workerid INTEGER REFERENCES workers (id) ON DELETE SET NULL,
    masterid INTEGER NOT NULL REFERENCES masters (id) ON DELETE CASCADE,
    started_at INTEGER NOT NULL,
    complete_at INTEGER,
    locks_duration_s INTEGER NOT NULL,
    state_string TEXT NOT NULL,
    results INTEGER
);
CREATE INDEX builds_buildrequestid ON builds (buildrequestid);
CREATE INDEX builds_masterid ON builds (masterid);
CREATE INDEX builds_workerid ON builds (workerid);
CREATE UNIQUE INDEX builds_number ON builds (builderid, number);

CREATE TABLE build_properties (
    buildid INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    name VARCHAR(256) NOT NULL,
    value TEXT NOT NULL,
    source VARCHAR(256) NOT NULL
);
CREATE INDEX build_properties_buildid ON build_properties (buildid);

CREATE TABLE build_data (
    id INTEGER NOT NULL PRIMARY KEY,
    buildid INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    name VARCHAR(256) NOT NULL,
    value BLOB NOT NULL,
    length INTEGER NOT NULL,
    source VARCHAR(256) NOT NULL
);
CREATE UNIQUE INDEX build_data_buildid_name ON build_data (buildid, name);

CREATE TABLE steps (
    id INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL,
    name VARCHAR(50) NOT NULL,
    buildid INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    started_at INTEGER,
    locks_acquired_at INTEGER,
    complete_at INTEGER,
    state_string TEXT NOT NULL,
    results INTEGER,
    urls_json TEXT NOT NULL,
    hidden SMALLINT DEFAULT '0' NOT NULL
);
CREATE INDEX steps_started_at ON steps (started_at);
CREATE UNIQUE INDEX steps_name ON steps (buildid, name);
CREATE UNIQUE INDEX steps_number ON steps (buildid, number);

CREATE TABLE logs (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    slug VARCHAR(50) NOT NULL,
    stepid INTEGER NOT NULL REFERENCES steps (id) ON DELETE CASCADE,
    complete SMALLINT NOT NULL,
    num_lines INTEGER NOT NULL,
    type VARCHAR(1) NOT NULL
);
CREATE UNIQUE INDEX logs_slug ON logs (stepid, slug);

CREATE TABLE logchunks (
    logid INTEGER NOT NULL REFERENCES logs (id) ON DELETE CASCADE,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL,
    content BLOB,
    compressed SMALLINT NOT NULL
);
CREATE INDEX logchunks_firstline ON logchunks (logid, first_line);
CREATE INDEX logchunks_lastline ON logchunks (logid, last_line);

-- What tests said.

CREATE TABLE test_result_sets (
    id INTEGER NOT NULL PRIMARY KEY,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    buildid INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    stepid INTEGER NOT NULL REFERENCES steps (id) ON DELETE CASCADE,
    description TEXT,
    category TEXT NOT NULL,
    value_unit TEXT NOT NULL,
    tests_passed INTEGER,
    tests_failed INTEGER,
    complete SMALLINT NOT NULL
);

CREATE TABLE test_names (
    id INTEGER NOT NULL PRIMARY KEY,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    name TEXT NOT NULL
);
CREATE INDEX test_names_name ON test_names (builderid, name);

CREATE TABLE test_code_paths (
    id INTEGER NOT NULL PRIMARY KEY,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    path TEXT NOT NULL
);
CREATE INDEX test_code_paths_path ON test_code_paths (builderid, path);

CREATE TABLE test_results (
    id INTEGER NOT NULL PRIMARY KEY,
    builderid INTEGER NOT NULL REFERENCES builders (id) ON DELETE CASCADE,
    test_result_setid INTEGER NOT NULL REFERENCES test_result_sets (id) ON DELETE CASCADE,
    test_nameid INTEGER REFERENCES test_names (id) ON DELETE CASCADE,
    test_code_pathid INTEGER REFERENCES test_code_paths (id) ON DELETE CASCADE,
    line INTEGER,
    duration_ns INTEGER,
    value TEXT NOT NULL
);

-- What components remember.

CREATE TABLE objects (
    id INTEGER NOT NULL PRIMARY KEY,
    name VARCHAR(128) NOT NULL,
    class_name VARCHAR(128) NOT NULL
);
CREATE UNIQUE INDEX object_identity ON objects (name, class_name);

CREATE TABLE object_state (
    objectid INTEGER NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL,
    value_json TEXT NOT NULL
);
CREATE UNIQUE INDEX name_per_object ON object_state (objectid, name);

-- Which schema this is.

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
);

INSERT INTO alembic_version (version_num) VALUES ('067');
