//! The head of the one file. It unpacks what it carries into a cache, once, and runs it from there.
//!
//! Behind it the file may go on with what the program itself unpacks (`jan/runner/carried.py`).
//!
//! What is unpacked is named by the SHA-256 of what was packed, is checked against it, and gets its
//! name when it is complete: a name that is there can be run. A running program holds a shared
//! lock on its folder; whoever unpacks another removes the folders that nobody holds.
//!
//! Static, and free of any library: the machine need have nothing but a kernel for this part.

const std = @import("std");
const linux = std.os.linux;
const lock_kind = std.posix.LOCK;
const Dir = std.Io.Dir;

/// Made by `bundles/pack.py`: `name` (such as `jan-0.1.0-gateway-0123456789abcdef`), `sha256` and
/// `unpacked_bytes`.
const packed_as = @import("packed_as");
/// A tar archive compressed by zstd.
const payload = @embedFile("payload");

/// Names in the cache that are not those of programs. Whoever holds the lock may delete the draft.
const lock_name = ".unpack.lock";
const draft_name = ".unpack.new";
/// The program in the folder.
const program = "jan";
/// Tells the program which file it came from.
const file_variable = "JAN_EXECUTABLE";
/// zstd's own, in C: Zig's takes twenty times as long.
extern fn ZSTD_decompress(to: [*]u8, to_bytes: usize, from: [*]const u8, from_bytes: usize) usize;

/// Nobody else may put a program where we run one; all may read, for PostgreSQL does not run as
/// root and has its libraries there.
const others_write = 0o022;

const Refusal = error{Refused};

pub fn main(init: std.process.Init) u8 {
    run(init) catch |failure| switch (failure) {
        error.Refused => {},
        else => say("error: Jan can't be unpacked: {t}.\n", .{failure}),
    };
    return 1;
}

/// Run the program in place of this one. Returns only if that can't be.
fn run(init: std.process.Init) !void {
    const arena = init.arena.allocator();
    const io = init.io;
    const cache_path = try cachePath(init);
    const umask = linux.syscall1(.umask, others_write);
    Dir.cwd().createDirPath(io, cache_path) catch |failure|
        return refuse("Jan can't unpack itself into {s}: {t}.", .{ cache_path, failure });
    const cache = Dir.cwd().openDir(io, cache_path, .{ .iterate = true }) catch |failure|
        return refuse("Jan can't unpack itself into {s}: {t}.", .{ cache_path, failure });
    const found = try look(cache.handle, "");
    if (found.uid != linux.geteuid() or found.mode & others_write != 0)
        return refuse("{s} is not yours alone to write to.", .{cache_path});

    while (!try held(cache)) try unpack(io, cache, cache_path);
    const path = try std.fs.path.joinZ(arena, &.{ cache_path, packed_as.name, program });
    _ = linux.syscall1(.umask, umask);
    const argv: [*:null]const ?[*:0]const u8 = @ptrCast(init.minimal.args.vector.ptr);
    const trouble = linux.errno(linux.execve(path, argv, try environment(init)));
    if (trouble == .ACCES)
        return refuse("{s} is on a file system that runs no programs (noexec).", .{cache_path});
    return refuse("Can't run {s}: {t}.", .{ path, trouble });
}

/// The environment, and in it where this file is: the program may carry more behind us.
fn environment(init: std.process.Init) ![*:null]const ?[*:0]const u8 {
    const arena = init.arena.allocator();
    var found: [std.fs.max_path_bytes]u8 = undefined;
    const length = linux.readlink("/proc/self/exe", &found, found.len);
    if (linux.errno(length) != .SUCCESS)
        return refuse("Jan can't find its own file: is /proc mounted?", .{});
    const said = try std.fmt.allocPrintSentinel(arena, file_variable ++ "={s}", .{found[0..length]}, 0);
    const given = init.minimal.environ.block.slice;
    const all = try arena.allocSentinel(?[*:0]const u8, given.len + 1, null);
    var count: usize = 0;
    for (given) |entry| {
        const variable = entry orelse break;
        if (std.mem.startsWith(u8, std.mem.span(variable), file_variable ++ "=")) continue;
        all[count] = variable;
        count += 1;
    }
    all[count] = said;
    @memset(all[count + 1 ..], null);
    return all.ptr;
}

/// Where programs are unpacked to. Never a temporary folder: what is there gets cleaned up.
fn cachePath(init: std.process.Init) ![]const u8 {
    const arena = init.arena.allocator();
    const environ = init.environ_map;
    if (environ.get("JAN_CACHE")) |said| if (said.len > 0) return said;
    if (linux.geteuid() == 0) return "/var/cache/jan";
    if (environ.get("XDG_CACHE_HOME")) |said| if (std.fs.path.isAbsolute(said))
        return std.fs.path.join(arena, &.{ said, "jan" });
    if (environ.get("HOME")) |said| if (std.fs.path.isAbsolute(said))
        return std.fs.path.join(arena, &.{ said, ".cache", "jan" });
    return refuse("Jan does not know where to unpack itself to: HOME is not set.", .{});
}

/// Take a shared lock on the unpacked program, for as long as this process and what it becomes
/// live. False if it is not there.
fn held(cache: Dir) !bool {
    while (true) {
        // Not closed by exec: what we become holds the lock by it.
        const opened = linux.openat(cache.handle, packed_as.name, .{ .DIRECTORY = true }, 0);
        switch (linux.errno(opened)) {
            .SUCCESS => {},
            .NOENT => return false,
            else => |trouble| return refuse("Can't open {s}: {t}.", .{ packed_as.name, trouble }),
        }
        const folder: linux.fd_t = @intCast(opened);
        if (linux.errno(linux.flock(folder, lock_kind.SH)) != .SUCCESS)
            return refuse("Can't lock {s}.", .{packed_as.name});
        // Somebody may have renamed it before we had the lock, and be deleting it now.
        const ours = try look(folder, "");
        const there = look(cache.handle, packed_as.name) catch null;
        if (there) |entry| if (entry.ino == ours.ino) return true;
        _ = linux.close(folder);
    }
}

/// Put the program into the cache, unless another process has done so meanwhile.
fn unpack(io: std.Io, cache: Dir, cache_path: []const u8) !void {
    const lock = try cache.createFile(io, lock_name, .{ .truncate = false, .lock = .exclusive });
    defer lock.close(io);
    if (look(cache.handle, packed_as.name)) |_| return else |_| {}

    if (std.Io.File.stderr().isTty(io) catch false)
        say("Unpacking {s} into {s}, once.\n", .{ packed_as.name, cache_path });
    var digest: [32]u8 = undefined;
    std.crypto.hash.sha2.Sha256.hash(payload, &digest, .{});
    if (!std.mem.eql(u8, &std.fmt.bytesToHex(digest, .lower), packed_as.sha256))
        return refuse("This file is damaged: copy it again.", .{});

    try cache.deleteTree(io, draft_name); // of one that was killed
    const draft = try cache.createDirPathOpen(io, draft_name, .{ .open_options = .{ .iterate = true } });
    errdefer cache.deleteTree(io, draft_name) catch {};
    extract(io, draft) catch |failure|
        return refuse("Jan can't unpack itself into {s}: {t}.", .{ cache_path, failure });
    // Or a power cut could leave the name with half of the files.
    if (linux.errno(linux.syncfs(draft.handle)) != .SUCCESS) return error.NotOnDisk;
    draft.close(io);
    try cache.rename(draft_name, cache, packed_as.name, io);
    removeOthers(io, cache);
}

fn extract(io: std.Io, draft: Dir) !void {
    const unpacked = try std.heap.page_allocator.alloc(u8, packed_as.unpacked_bytes);
    defer std.heap.page_allocator.free(unpacked);
    if (ZSTD_decompress(unpacked.ptr, unpacked.len, payload, payload.len) != unpacked.len)
        return error.DamagedArchive;
    var archive: std.Io.Reader = .fixed(unpacked);
    try std.tar.extract(io, draft, &archive, .{});
}

/// Remove the programs that no process holds. One that can't be removed is none to fail for.
fn removeOthers(io: std.Io, cache: Dir) void {
    var entries = cache.iterate();
    while (entries.next(io) catch null) |entry| {
        // Nothing but what was unpacked here: the cache may be any folder that JAN_CACHE names.
        if (!std.mem.startsWith(u8, entry.name, "jan-") or
            std.mem.eql(u8, entry.name, packed_as.name)) continue;
        const folder = cache.openDir(io, entry.name, .{ .iterate = true, .follow_symlinks = false }) catch continue;
        defer folder.close(io);
        folder.access(io, "_internal", .{}) catch continue;
        if (linux.errno(linux.flock(folder.handle, lock_kind.EX | lock_kind.NB)) != .SUCCESS) continue;
        // Out of sight first: whoever finds the name shall find all that belongs to it.
        cache.deleteTree(io, draft_name) catch continue;
        cache.rename(entry.name, cache, draft_name, io) catch continue;
        cache.deleteTree(io, draft_name) catch continue;
    }
}

const Found = struct { uid: u32, mode: u32, ino: u64 };

/// The owner, mode and number of a file below an open folder; of the folder itself for "".
fn look(folder: linux.fd_t, name: [:0]const u8) !Found {
    var seen: linux.Statx = undefined;
    const flags = linux.AT.EMPTY_PATH | linux.AT.SYMLINK_NOFOLLOW;
    const mask: linux.STATX = .{ .UID = true, .MODE = true, .INO = true };
    return switch (linux.errno(linux.statx(folder, name, flags, mask, &seen))) {
        .SUCCESS => .{ .uid = seen.uid, .mode = seen.mode, .ino = seen.ino },
        .NOENT => error.FileNotFound,
        else => error.Unexpected,
    };
}

/// Say why not, in the words of the program itself.
fn refuse(comptime format: []const u8, values: anytype) Refusal {
    say("error: " ++ format ++ "\n" ++
        "hint: JAN_CACHE names another folder for it, one that only you may write to.\n", values);
    return error.Refused;
}

fn say(comptime format: []const u8, values: anytype) void {
    std.debug.print(format, values);
}
