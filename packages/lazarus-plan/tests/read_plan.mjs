// An independent reader of batch plans, written from FORMAT.md alone.
//   node read_plan.mjs check PLAN [LENGTHS..]     checks every document, prints plan_id
//   node read_plan.mjs deal PLAN STEP WORLD_SIZE  prints the samples of each row, rank by rank
//   node read_plan.mjs proof FILE                 prints the plan_id that a proof leads to
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const hex = (...parts) => sha256(...parts).toString("hex");
const digest = (value) => `sha256:${hex(canonical(value))}`;
const leaf = (line) => sha256(Buffer.of(0), line);
const node = (left, right) => sha256(Buffer.of(1), left, right);
const same = (found, stated, what) => {
  if (canonical(found) !== canonical(stated)) throw new Error(`${what}: ${canonical(found)} is not ${canonical(stated)}`);
};

// RFC 8785: members sorted by UTF-16 units, no spaces. All numbers are integers below 2^53.
const canonical = (value) =>
  Array.isArray(value)
    ? `[${value.map(canonical).join(",")}]`
    : value !== null && typeof value === "object"
      ? `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`
      : JSON.stringify(value);
// The members of the length cache are in the order of the format, their values canonical.
const ordered = (value, names) =>
  `{${names.filter((name) => name in value).map((name) => `"${name}":${canonical(value[name])}`).join(",")}}\n`;

const half = (count) => 2 ** Math.ceil(Math.log2(count) - 1); // the largest power of two below the number of leaves
const merkleRoot = (leaves) =>
  leaves.length < 2
    ? (leaves[0] ?? sha256())
    : node(merkleRoot(leaves.slice(0, half(leaves.length))), merkleRoot(leaves.slice(half(leaves.length))));
function rootOfPath(hash, index, count, path) {
  if (count === 1) return path.length ? null : hash;
  const [left, last, rest] = [half(count), Buffer.from(path.at(-1) ?? "", "hex"), path.slice(0, -1)];
  if (index < left) return node(rootOfPath(hash, index, left, rest), last);
  return node(last, rootOfPath(hash, index - left, count - left, rest));
}

function checkLine(text, step, config) {
  const line = JSON.parse(text);
  const { samples, packing, row_len = config.row_len, spans, tokens } = line;
  const known = { step, samples, tokens, packing, ...("row_len" in line && { row_len }), ...(spans && { spans }) };
  same(JSON.stringify(known), text, `spelling of line ${step}`);
  const sizes = packing.map(([start, end]) => end - start);
  same([sizes.reduce((sum, size) => sum + size, 0), samples.length], [tokens, packing.length], `sums of step ${step}`);
  const costs = [];
  packing.forEach(([start, end], at) => {
    const row = Math.floor(start / row_len);
    const [floor, isStraddling] = [at ? packing[at - 1][1] : 0, Math.floor((end - 1) / row_len) !== row];
    if (start < floor || end <= start || isStraddling) throw new Error(`range ${at} of step ${step}`);
    if (spans) same(spans[at][1] - spans[at][0], sizes[at], `span ${at} of step ${step}`);
    costs[row] = (costs[row] ?? 0) + sizes[at] ** 2;
  });
  if (costs.length > Math.floor(config.token_budget / row_len)) throw new Error(`rows of step ${step}`);
  if (costs.some((cost, row) => row && cost > costs[row - 1])) throw new Error(`order of the rows of step ${step}`);
  const isWhole = (at) => !spans || (spans[at][0] === 0 && spans[at][1] < config.row_len);
  return samples.map((sample, at) => [sample, sizes[at], isWhole(at)]);
}

function lengthsOf(file) {
  const lines = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  const names = ["lazarus_lengths", "count", "data", "template", "tokenizer", "encoding"];
  const absent = { data: "absent", template: "absent", tokenizer: "absent", encoding: {} };
  const header = "lazarus_lengths" in lines[0] ? lines.shift() : { lazarus_lengths: 1, count: lines.length };
  const rows = lines.map((line) => ordered(line, ["id", "length", "loss_tokens", "parts", "h", "row"]));
  return { digest: `sha256:${hex(ordered({ ...absent, ...header }, names), ...rows)}`, lengths: lines.map((line) => line.length) };
}

function check(folder, caches) {
  const read = (name) => readFileSync(join(folder, name));
  const documents = ["metadata", "fingerprints", "stats"].map((name) => JSON.parse(read(`${name}.json`)));
  const [{ checksum, ...metadata }, chain, stats] = documents;
  const { config, epochs, sources, parent, numbering, plan_format_version } = metadata;
  same(plan_format_version, numbering ? 3 : 2, "format");
  const sourceOf = (numbering ?? sources.map(({ count }, source) => [source, count])).flatMap(([source, count]) => Array(count).fill(source));
  const numbers = sources.map((_, source) => [...sourceOf.keys()].filter((sample) => sourceOf[sample] === source));
  same(numbers.map((list) => [list[0], list.length]), sources.map(({ offset, count }) => [offset, count]), "sources");
  const bytes = read("plan.jsonl");
  const lines = bytes.toString("latin1").split("\n");
  same(lines.pop(), "", "end of plan.jsonl");
  const places = lines.map((line, step) => checkLine(line, step, config));
  same(epochs.reduce((first, epoch) => (same(epoch.first_step, first, "epochs"), first + epoch.steps), 0), lines.length, "steps");
  for (const epoch of epochs) {
    const mine = places.slice(epoch.first_step, epoch.first_step + epoch.steps).flat();
    same([mine.length, mine.reduce((sum, place) => sum + place[1], 0)], [epoch.samples, epoch.tokens], `epoch ${epoch.epoch}`);
  }
  for (const link of ["data", "template", "tokenizer", "lengths"]) {
    const isAbsent = link !== "lengths" && chain[link].sources.includes("absent");
    same(isAbsent ? "absent" : digest(chain[link].sources), chain[link].digest, link);
  }
  same(sources.map((source) => source.lengths), chain.lengths.sources, "lengths");
  same(digest(config), chain.config.digest, "config");
  const root = merkleRoot(lines.map(leaf)).toString("hex");
  same([`sha256:${hex(bytes)}`, root], [chain.plan_sha256, chain.merkle_root], "lines");
  const identity = {
    plan_format_version,
    config,
    ...Object.fromEntries(["data", "template", "tokenizer", "lengths"].map((link) => [link, chain[link].sources])),
    encoding: chain.lengths.parts.map((part) => digest(part.encoding ?? {})),
    files: chain.data.parts.map((part) => (part.files ?? []).map((file) => file.sha256)),
    rows: chain.lengths.parts.map((part) => part.rows ?? "absent"),
    counts: sources.map((source) => source.count),
    merkle_root: root,
    steps: lines.length,
    ...(parent && { parent }),
    ...(numbering && { numbering }),
  };
  same([digest(identity), digest(identity), lines.length], [chain.plan_id, chain.plan.digest, chain.plan.count], "plan_id");
  same(digest({ metadata, fingerprints: chain, stats }), checksum, "checksum");
  if (parent) same(merkleRoot(lines.slice(0, parent.steps).map(leaf)).toString("hex"), parent.prefix_root, "parent");
  const rowsOf = (list) => list.map((sample) => read("plan.rows").subarray(8 * sample, 8 * sample + 8));
  if (existsSync(join(folder, "plan.rows"))) same(numbers.map((list) => `sha256:${hex(...rowsOf(list))}`), identity.rows, "plan.rows");
  const offsets = lines.reduce((list, line) => [...list, list.at(-1) + line.length + 1], [0]);
  const index = Buffer.concat(offsets.map((offset) => (([b]) => (b.writeBigUInt64LE(BigInt(offset)), b))([Buffer.alloc(8)])));
  same(index.toString("hex"), read("plan.idx").toString("hex"), "plan.idx");
  const [found, lengths] = [caches.map(lengthsOf), []];
  if (found.length) same(found.map((cache) => cache.digest), identity.lengths, "length caches");
  found.forEach((cache, source) => cache.lengths.forEach((length, at) => (lengths[numbers[source][at]] = length)));
  for (const [sample, size, isWhole] of found.length ? places.flat() : [])
    if (isWhole ? size !== lengths[sample] : size > lengths[sample]) throw new Error(`length of sample ${sample}`);
  return chain.plan_id;
}

function deal(folder, step, worldSize) {
  const config = JSON.parse(readFileSync(join(folder, "metadata.json"))).config;
  const line = readFileSync(join(folder, "plan.jsonl"), "latin1").split("\n")[step];
  const { samples, packing, row_len = config.row_len } = JSON.parse(line);
  const rows = [];
  packing.forEach(([start], at) => (rows[Math.floor(start / row_len)] ??= []).push(samples[at]));
  const lap = [...Array(worldSize).keys()];
  const snake = [...lap, ...[...lap].reverse()];
  const dealt = lap.map(() => []);
  rows.forEach((row, at) => dealt[snake[at % snake.length]].push(row));
  return JSON.stringify(dealt);
}

function proof(file) {
  const { lazarus_proof, plan_id, step, line, path, ...identity } = JSON.parse(readFileSync(file));
  same([lazarus_proof, JSON.parse(line).step], [2, step], "proof");
  same(rootOfPath(leaf(line), step, identity.steps, path)?.toString("hex"), identity.merkle_root, "path");
  same(digest(identity), plan_id, "plan_id");
  return plan_id;
}

const [command, file, ...rest] = process.argv.slice(2);
console.log({ check: () => check(file, rest), deal: () => deal(file, ...rest.map(Number)), proof: () => proof(file) }[command]());
