// The data of the page: compressed blocks, opened when they are asked for.

const KEPT_BLOCKS = 6;
const WITH_PROMPT = "prompt";
const MOST_IN_LINE = 200;
const blocks = new Map();

async function unpack(id) {
  let node = document.getElementById(id);
  if (document.readyState === "loading" && !(node && node.nextElementSibling)) {
    await new Promise((done) => document.addEventListener("DOMContentLoaded", done));
    node = document.getElementById(id);
  }
  const binary = atob(node.textContent);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const opened = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(opened).text());
}

async function blockOf(index) {
  let block = blocks.get(index);
  if (!block) {
    block = await unpack(`problem-${index}`);
    prepare(block);
    if (blocks.size >= KEPT_BLOCKS) blocks.delete(blocks.keys().next().value);
    blocks.set(index, block);
  }
  return block;
}

// Samples stand in the order of their answers. Each answer gets its own, and its distinct texts.
function prepare(block) {
  let start = 0;
  block.total = 0;
  block.answers.forEach((answer, rank) => {
    answer.rank = rank;
    answer.start = start;
    start = answer.stop = start + answer.samples;
    block.total += answer.samples;
    const times = new Map();
    for (let i = answer.start; i < answer.stop; i++) {
      const text = block.text[i];
      times.set(text, (times.get(text) || 0) + 1);
    }
    answer.leftOut = times.get(-1) || 0;
    times.delete(-1);
    answer.texts = [...times.keys()].sort((a, b) => times.get(b) - times.get(a));
    answer.times = times;
  });
  block.byKey = new Map(block.answers.map((answer) => [answer.key, answer]));
}

const textOf = (block, answer, which = 0) =>
  answer.texts.length ? block.texts[answer.texts[which]] : "";

// What of an answer's text was judged, where that is something else; "" for the text itself.
function judgedOf(block, answer) {
  if (!answer.judged || answer.judged === WITH_PROMPT) return "";
  const [text, part, from, to] = answer.judged;
  return block.parts[part] + block.texts[text].slice(from, to);
}

// The same in a line, where it is short.
function judgedLine(block, answer) {
  const text = judgedOf(block, answer);
  return text.length <= MOST_IN_LINE && !text.includes("\n") ? text : "";
}

const ENDS = { s: "stop", l: "length", a: "abort" };
const UNJUDGED = "not judged";
const UNDECIDED = "error";
const undecided = (problem) => problem.kinds[UNDECIDED] || 0;
const unjudged = (problem) => problem.samples - problem.n - undecided(problem);

// What became of an answer in one word, under the judge with this number: `passed`, a kind, ...
function endOf(answer, judge = 0) {
  const verdict = answer.by[judge];
  if (!verdict) return UNJUDGED;
  return verdict[1] || verdict[0];
}

const words = (end) => end.replaceAll("_", " ");
const chip = (end) => el("span", { class: `chip k-${end.replaceAll(" ", "_")}` }, words(end));

// Links: #TASK, #TASK@ANSWER, #TASK@ANSWER..ANSWER (a diff).
function link(taskId, answer = "") {
  const name = encodeURIComponent(taskId.toWellFormed ? taskId.toWellFormed() : taskId);
  return "#" + name.replaceAll("%2F", "/") + (answer ? "@" + answer : "");
}

function readLink(hash) {
  const [name, ...rest] = hash.replace(/^#/, "").split("@");
  let taskId = name;
  try {
    taskId = decodeURIComponent(name);
  } catch {
    // A percent sign that was typed by hand: the name stands as it is.
  }
  const [answer, other] = rest.join("@").split("..");
  return { taskId, answer: answer || "", other: other || "" };
}
