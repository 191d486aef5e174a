// A text in a box: coloured where it is a program or a patch, cut where it is long.

const FIRST_CHARACTERS = 20000;
const MOST_COLOURED = 300000;

const PYTHON = new RegExp(
  [
    String.raw`(?<comment>#[^\n]*)`,
    String.raw`(?<string>[rRbBuUfF]{0,2}(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))`,
    String.raw`(?<word>[A-Za-z_]\w*)`,
    String.raw`(?<digits>\d[\w.]*)`,
  ].join("|"),
  "g",
);
const KEYWORDS = new Set(
  ("False None True and as assert async await break class continue def del elif else except " +
    "finally for from global if import in is lambda nonlocal not or pass raise return try while " +
    "with yield match case").split(" "),
);
const FENCE = /^[ \t]{0,9}(```+|~~~+)[ \t]*([\w+-]*)[^\n]*$/gm;

// [kind, text] of each part of a Python program. Every character comes out once, in order.
function* pythonParts(text) {
  let from = 0;
  let defines = false;
  for (const match of text.matchAll(PYTHON)) {
    if (match.index > from) yield ["", text.slice(from, match.index)];
    const groups = match.groups;
    let kind = groups.comment ? "comment" : groups.string ? "string" : groups.digits ? "digits" : "";
    if (groups.word) {
      kind = KEYWORDS.has(groups.word) ? "keyword" : defines ? "name" : "";
      defines = groups.word === "def" || groups.word === "class";
    }
    yield [kind, match[0]];
    from = match.index + match[0].length;
  }
  if (from < text.length) yield ["", text.slice(from)];
}

function* patchParts(text) {
  for (const line of text.match(/[^\n]*\n|[^\n]+/g) || []) {
    if (/^(?:diff |index |--- |\+\+\+ )/.test(line)) yield ["comment", line];
    else if (line.startsWith("@@")) yield ["keyword", line];
    else yield [line[0] === "+" ? "added" : line[0] === "-" ? "removed" : "", line];
  }
}

// Prose with fenced blocks: these are coloured by their language, or as what the task asks for.
function* fencedParts(text, language) {
  let from = 0;
  let open = null;
  for (const match of text.matchAll(FENCE)) {
    if (open && !(match[1].startsWith(open.mark) && !match[2])) continue;
    const part = text.slice(from, match.index);
    if (open) yield* parts(part, open.language);
    else if (part) yield ["prose", part];
    yield ["comment", match[0]];
    from = match.index + match[0].length;
    open = open ? null : { mark: match[1], language: languageOf(match[2], language) };
  }
  const rest = text.slice(from);
  if (open) yield* parts(rest, open.language);
  else if (rest) yield ["prose", rest];
}

function languageOf(name, otherwise) {
  if (/^(?:py|python\d?)$/i.test(name)) return "python";
  if (/^(?:diff|patch)$/i.test(name)) return "patch";
  return name ? "" : otherwise;
}

function* parts(text, language) {
  if (language === "python") yield* pythonParts(text);
  else if (language === "patch") yield* patchParts(text);
  else if (text) yield [language === "prose" ? "prose" : "", text];
}

// What language the completions of a run are in, and whether they are prose around it.
function languageOfRun(head) {
  if (head.kind === "swebench") return "patch";
  if (head.kind === "python_tests" || head.kind === "stdin") return "python";
  return head.kind === "proof" ? "" : "prose";
}

// A reasoning model's thoughts, and what it says after them.
function* completionParts(text, head) {
  const mark = "</think>";
  const end = text.lastIndexOf(mark);
  if (end >= 0) yield ["thought", text.slice(0, end + mark.length)];
  yield* saidParts(end >= 0 ? text.slice(end + mark.length) : text, head);
}

// A chat may hold a program without fences. Then only its first words tell.
function saidParts(text, head) {
  const language = languageOfRun(head);
  if (text.search(FENCE) >= 0) return fencedParts(text, language === "prose" ? "" : language);
  const prose = language === "python" && head.style === "chat" && !/^(?:def|import|from|class)\b/m.test(text);
  return parts(text, prose ? "prose" : language);
}

function coloured(found) {
  const fragment = document.createDocumentFragment();
  for (const [kind, text] of found) {
    if (kind) fragment.append(el("span", { class: `t-${kind}` }, text));
    else fragment.append(visible(text));
  }
  return fragment;
}

// A box with a text; `split` gives its parts. A long one shows its beginning and a button.
function textBox(text, split, label) {
  const box = el("pre", { class: "text", tabindex: "0", "aria-label": label, dir: "ltr" });
  const show = (shown) => {
    const plain = shown.length > MOST_COLOURED;
    box.replaceChildren(plain ? visible(shown) : coloured(split(shown)));
  };
  if (!text) {
    box.append(el("span", { class: "faint" }, "(empty)"));
    return box;
  }
  if (text.length <= FIRST_CHARACTERS) {
    show(text);
    return box;
  }
  show(text.slice(0, FIRST_CHARACTERS));
  const all = el("button", { class: "more", type: "button" }, `show all ${number(text.length)} characters`);
  all.addEventListener("click", () => {
    show(text);
    all.remove();
  });
  return el("div", {}, box, all);
}
