// An independent reader of batch plans, from FORMAT.md alone: recomputes plan_id and deals the rows of a step.
// node read_plan.mjs PLAN_FOLDER [STEP WORLD_SIZE]
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

// RFC 8785: members sorted by UTF-16 units, no spaces. All numbers are integers below 2^53.
const canonical = (value) =>
  Array.isArray(value)
    ? `[${value.map(canonical).join(",")}]`
    : value !== null && typeof value === "object"
      ? `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`
      : JSON.stringify(value);

// RFC 6962: the left subtree has the largest power of two below the number of leaves.
function merkleRoot(leaves) {
  if (leaves.length === 1) return leaves[0];
  let half = 1;
  while (2 * half < leaves.length) half *= 2;
  return sha256(Buffer.of(1), merkleRoot(leaves.slice(0, half)), merkleRoot(leaves.slice(half)));
}

const [folder, step, worldSize] = process.argv.slice(2);
const read = (name) => readFileSync(join(folder, name));
const metadata = JSON.parse(read("metadata.json"));
if (metadata.plan_format_version !== 2) throw new Error("another format");
const lines = read("plan.jsonl").toString("latin1").split("\n");
if (lines.pop() !== "") throw new Error("no line feed at the end");

if (step === undefined) {
  const chain = JSON.parse(read("fingerprints.json"));
  const sources = {
    data: chain.data.sources,
    template: chain.template.sources,
    tokenizer: chain.tokenizer.sources,
    lengths: metadata.sources.map((source) => source.lengths),
    encoding: chain.lengths.parts.map((part) => `sha256:${sha256(canonical(part.encoding ?? {})).toString("hex")}`),
    files: chain.data.parts.map((part) => (part.files ?? []).map((file) => file.sha256)),
    rows: chain.lengths.parts.map((part) => part.rows ?? "absent"),
    counts: metadata.sources.map((source) => source.count),
  };
  const root = merkleRoot(lines.map((line) => sha256(Buffer.of(0), line))).toString("hex");
  const { config, parent, plan_format_version } = metadata;
  const identity = { plan_format_version, config, ...sources, merkle_root: root, steps: lines.length, ...(parent && { parent }) };
  console.log(`sha256:${sha256(canonical(identity)).toString("hex")}`);
} else {
  const { samples, packing, row_len = metadata.config.row_len } = JSON.parse(lines[Number(step)]);
  const rows = new Map();
  packing.forEach(([start], place) => {
    const row = Math.floor(start / row_len);
    rows.set(row, [...(rows.get(row) ?? []), samples[place]]);
  });
  const lap = [...Array(Number(worldSize)).keys()];
  const snake = [...lap, ...[...lap].reverse()];
  const dealt = lap.map(() => []);
  [...rows.values()].forEach((row, place) => dealt[snake[place % snake.length]].push(row));
  console.log(JSON.stringify(dealt));
}
