// The difference of two texts, line by line, and within a line that was changed.

const MOST_CELLS = 4_000_000;
const AROUND = 4;

// [sign, line] of each line: " " in both, "-" only in the first, "+" only in the second.
function diffLines(first, second) {
  const a = first.split("\n");
  const b = second.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const middle = longestCommon(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [
    ...a.slice(0, head).map((line) => [" ", line]),
    ...middle,
    ...a.slice(a.length - tail).map((line) => [" ", line]),
  ];
}

// By the longest common subsequence. Where its table would be too large, all lines differ.
function longestCommon(a, b) {
  if (a.length * b.length > MOST_CELLS) return [...a.map((l) => ["-", l]), ...b.map((l) => ["+", l])];
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const here = i * width + j;
      common[here] =
        a[i] === b[j] ? common[here + width + 1] + 1 : Math.max(common[here + width], common[here + 1]);
    }
  }
  const found = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push([" ", a[i++]]);
      j++;
    } else if (j >= b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      found.push(["-", a[i++]]);
    } else {
      found.push(["+", b[j++]]);
    }
  }
  return found;
}

// [begin, end, end] of what differs within two lines: from where, and to where in each of them.
function changedSpan(a, b) {
  let begin = 0;
  while (begin < a.length && begin < b.length && a[begin] === b[begin]) begin++;
  let end = 0;
  while (end < a.length - begin && end < b.length - begin && a.at(-1 - end) === b.at(-1 - end)) end++;
  return [begin, a.length - end, b.length - end];
}

// Pairs each removed line of a block with the added line in the same place.
function withSpans(lines) {
  const found = lines.map(([sign, line]) => ({ sign, line, from: 0, to: 0 }));
  for (let i = 0; i < found.length; ) {
    if (found[i].sign === " ") {
      i++;
      continue;
    }
    const removed = [];
    const added = [];
    while (i < found.length && found[i].sign !== " ") (found[i].sign === "-" ? removed : added).push(found[i++]);
    for (let k = 0; k < Math.min(removed.length, added.length); k++) {
      const [from, toRemoved, toAdded] = changedSpan(removed[k].line, added[k].line);
      if (from === 0 && toRemoved === removed[k].line.length) continue;
      Object.assign(removed[k], { from, to: toRemoved });
      Object.assign(added[k], { from, to: toAdded });
    }
  }
  return found;
}

function diffBox(first, second) {
  const lines = withSpans(diffLines(first, second));
  const box = el("pre", { class: "text diff", tabindex: "0", "aria-label": "difference", dir: "ltr" });
  const near = new Uint8Array(lines.length);
  lines.forEach(({ sign }, i) => {
    if (sign !== " ") near.fill(1, Math.max(0, i - AROUND), i + AROUND + 1);
  });
  let skipped = 0;
  const flush = () => {
    if (skipped) box.append(el("div", { class: "skipped" }, `${many(skipped, "equal line")}`));
    skipped = 0;
  };
  lines.forEach((entry, i) => {
    if (!near[i]) {
      skipped++;
      return;
    }
    flush();
    box.append(diffLine(entry));
  });
  flush();
  return box;
}

function diffLine({ sign, line, from, to }) {
  const kind = sign === "+" ? "added" : sign === "-" ? "removed" : "same";
  const cut = line.length > FIRST_CHARACTERS ? line.slice(0, FIRST_CHARACTERS) + "…" : line;
  const marked = to > from ? el("mark", {}, cut.slice(from, to)) : null;
  const body = marked ? [cut.slice(0, from), marked, cut.slice(to)] : [cut];
  return el("div", { class: `line ${kind}` }, el("span", { class: "sign", "aria-hidden": "true" }, sign), body);
}
