// The page of one problem: its answers by mass on the left; the question, an answer, or the
// difference of two answers on the right.

const FIRST_SAMPLES = 50;
const QUESTION = "question";

class ProblemView {
  constructor(app, problem, block) {
    Object.assign(this, { app, head: app.head, problem, block });
    this.base = baseOf(block);
    this.order = block.answers.map((_, i) => i);
    this.list = new VirtualList("answers", block.answers.length ? "No answer is like that." : "Nothing is sampled yet.", (i) => this.row(this.block.answers[this.order[i]]));
    this.pane = el("section", { class: "pane", tabindex: "-1" });
    this.search = el("input", { type: "search", placeholder: "Search texts", "aria-label": "search" });
    this.search.addEventListener("input", () => this.arrange());
    this.filter = this.filterSelect();
    this.found = el("span", { class: "found" });
    this.questionRow = el("a", { class: "question", href: link(problem.id, QUESTION) }, "Prompt, tests, reference");
    this.node = el(
      "main",
      { class: "problem" },
      this.summary(),
      el(
        "div",
        { class: "split" },
        el(
          "nav",
          { "aria-label": "answers" },
          this.questionRow,
          el("div", { class: "tools" }, this.search, this.filter, this.found),
          this.list.box,
          this.leftOut(),
        ),
        this.pane,
      ),
    );
    this.arrange();
  }

  summary() {
    const { problem, app } = this;
    const facts = [
      problem.n ? `${share(problem.c, problem.n)} of ${many(problem.n, "sample")} passed` : many(problem.samples, "sample"),
      many(problem.answers, "distinct answer"),
      problem.tokens === null ? "" : `${number(Math.round(problem.tokens))} tokens on average`,
      problem.suspect ? many(problem.suspect, "suspect pass").replace("passs", "passes") : "",
      undecided(problem) ? `${number(undecided(problem))} that the judge could not decide` : "",
      unjudged(problem) ? `${number(unjudged(problem))} not judged` : "",
      ...this.head.judges.slice(1).map((judge, i) => {
        const [n, c] = problem.beside[i];
        return n ? `${share(c, n)} by ${judge.name}` : `not judged by ${judge.name}`;
      }),
    ].filter(Boolean);
    const step = (by, text, title) => {
      const to = app.neighbour(problem.index, by);
      return to
        ? el("a", { class: "button", href: link(to.id), title }, text)
        : el("span", { class: "button off" }, text);
    };
    return el(
      "header",
      {},
      el(
        "div",
        { class: "titles" },
        el("a", { class: "button", href: "#", title: "all problems (Esc)" }, "← All"),
        el("h1", {}, oneLine(problem.id)),
        el("span", { class: "steps" }, step(-1, "‹", "problem before (p)"), step(1, "›", "next problem (n)")),
      ),
      el("p", { class: "facts" }, bar(problem.c, problem.n, "k-passed"), " ", facts.join(" · ")),
    );
  }

  leftOut() {
    const left = this.block.left_out;
    if (!left) return null;
    const more = this.problem.samples - this.block.total;
    return el("p", { class: "note" }, `Left out: ${many(left, "less frequent answer")}, ${many(more, "sample")}.`);
  }

  filterSelect() {
    const ends = new Map();
    for (const answer of this.block.answers) ends.set(endOf(answer), (ends.get(endOf(answer)) || 0) + 1);
    const options = [...ends].map(([end, count]) => el("option", { value: end }, `${words(end)} (${number(count)})`));
    const select = el("select", { "aria-label": "filter" }, el("option", { value: "" }, "All answers"), options);
    const has = (test) => this.block.answers.some(test);
    if (has(isSuspect)) select.append(el("option", { value: "is suspect" }, "suspect passes"));
    if (has(isDisputed)) select.append(el("option", { value: "is disputed" }, "judges disagree"));
    select.addEventListener("change", () => this.arrange());
    return select;
  }

  arrange() {
    const query = this.search.value.toLowerCase();
    const chosen = this.filter.value;
    const { answers, texts } = this.block;
    const matches = query && new Set(texts.flatMap((text, i) => (text.toLowerCase().includes(query) ? [i] : [])));
    this.order = answers
      .filter((answer) => {
        if (chosen === "is suspect") return isSuspect(answer);
        if (chosen === "is disputed") return isDisputed(answer);
        return !chosen || endOf(answer) === chosen;
      })
      .filter((answer) => !query || answer.texts.some((i) => matches.has(i)) || saysOf(answer).includes(query) || judgedOf(this.block, answer).toLowerCase().includes(query))
      .map((answer) => answer.rank);
    this.found.textContent = `${number(this.order.length)} of ${number(answers.length)}`;
    this.list.show(this.order.length, this.shown ? this.order.indexOf(this.shown.rank) : -1);
  }

  row(answer) {
    const { block, head } = this;
    const text = textOf(block, answer);
    const said = answer.form || judgedLine(block, answer) || (answer.by[0] && answer.by[0][2]) || text.slice(0, 400);
    const chips = head.judges.map((judge, i) => {
      const one = chip(endOf(answer, i));
      if (head.judges.length > 1) one.title = judge.name;
      return i && endOf(answer, i) === UNJUDGED ? null : one;
    });
    return el(
      "a",
      { href: link(this.problem.id, answer.key), role: "listitem" },
      el("span", { class: "mass" }, el("b", {}, number(answer.samples)), bar(answer.samples, this.problem.samples, "mass")),
      el(
        "span",
        { class: "says" },
        el("span", { class: "chips" }, chips, isSuspect(answer) ? el("span", { class: "chip suspect" }, "suspect") : null, answer === this.base ? el("span", { class: "chip base", title: "answers are compared with this one" }, "base") : null),
        el("small", {}, oneLine(said.trim(), 160)),
      ),
    );
  }

  // What the link asks for. Without an answer, the question.
  go(key, other) {
    const answer = this.block.byKey.get(key);
    const second = other && this.block.byKey.get(other);
    this.node.classList.toggle("inside", Boolean(key));
    this.shown = second || answer || null;
    this.questionRow.classList.toggle("selected", !this.shown);
    if (answer && second) this.pane.replaceChildren(this.difference(answer, second));
    else if (answer) this.pane.replaceChildren(this.answer(answer));
    else this.pane.replaceChildren(this.question(key));
    this.pane.scrollTop = 0;
    this.list.select(this.shown ? this.order.indexOf(this.shown.rank) : -1);
    if (!this.shown) this.list.show(this.order.length, -1);
  }

  question(key) {
    const { block, head } = this;
    const language = languageOfRun(head);
    const gone = key && key !== QUESTION;
    const part = (title, text, split) => [el("h2", {}, title), textBox(text, split, title)];
    const code = (text) => parts(text, language);
    const blocks = (text) => fencedParts(text, language === "prose" ? "" : language);
    return el(
      "div",
      {},
      this.back(),
      gone ? el("p", { class: "note" }, "This page has no answer of that name: ", oneLine(key, 40)) : null,
      part("Prompt", block.prompt, head.kind === "python_tests" ? code : blocks),
      block.reference.map(([name, text]) => part(words(name), text, (t) => parts(t, name === "test" ? "python" : ""))),
      block.solution ? part("Reference solution", block.solution, (t) => completionParts(t, head)) : null,
    );
  }

  back() {
    return el("a", { class: "button back", href: link(this.problem.id) }, "← Answers");
  }

  answer(answer) {
    const { block, problem } = this;
    const title = `Answer ${number(answer.rank + 1)} of ${number(problem.answers)}`;
    const mass = `${many(answer.samples, "sample")}, ${share(answer.samples, problem.samples)}`;
    const other = this.base !== answer ? this.base : null;
    const compare = other
      ? el("a", { class: "button", href: link(problem.id, `${other.key}..${answer.key}`), title: "d" }, `Diff with answer ${number(other.rank + 1)}`)
      : null;
    const base = el("button", { type: "button", class: "button", title: "others are compared with the base (b)" }, this.base === answer ? "This is the base" : "Make it the base");
    base.disabled = this.base === answer;
    base.addEventListener("click", () => this.makeBase(answer));
    return el(
      "div",
      {},
      this.back(),
      el("div", { class: "titles" }, el("h2", {}, title), el("span", { class: "facts" }, mass)),
      this.verdicts(answer),
      answer.form ? el("p", { class: "form" }, "In its plain form: ", el("code", {}, oneLine(answer.form))) : null,
      el("div", { class: "actions" }, compare, base),
      this.completions(block, answer),
    );
  }

  verdicts(answer) {
    const { judges } = this.head;
    const rows = judges.map((judge, i) => {
      const verdict = answer.by[i];
      const [outcome, kind, detail, suspect] = verdict || [UNJUDGED, "", "", []];
      return el(
        "li",
        {},
        el("b", {}, judge.name),
        el("span", {}, chip(outcome), kind ? [" ", chip(kind)] : null),
        outcome === UNDECIDED ? el("span", { class: "detail" }, "The judge could not decide: it is no failure, and the next evaluate judges it again.") : null,
        detail ? el("span", { class: "detail" }, oneLine(detail)) : null,
        suspect.length ? el("span", { class: "detail warning" }, `suspect: ${suspect.join(", ")}`) : null,
      );
    });
    return el("ul", { class: "verdicts" }, rows);
  }

  // One text at a time, the most frequent first, and below it all samples with this answer.
  completions(block, answer) {
    const place = el("div", {});
    const counter = el("span", { class: "facts" });
    const step = (by, text, title) => {
      const button = el("button", { type: "button", class: "button", title }, text);
      button.addEventListener("click", () => this.turn(by));
      return button;
    };
    const kept = answer.texts.length;
    this.turn = (by, to = this.which + by) => {
      this.which = kept ? (to + kept) % kept : 0;
      const times = answer.times.get(answer.texts[this.which]);
      counter.textContent = kept ? `${number(this.which + 1)} of ${number(kept)}, given by ${many(times, "sample")}` : "";
      place.replaceChildren(
        kept
          ? textBox(textOf(block, answer, this.which), (t) => completionParts(t, this.head), "completion")
          : el("p", { class: "note" }, "There was no room for the text of this answer. A shard of samples/ holds it."),
      );
      for (const row of place.parentNode?.querySelectorAll("tr[data-text]") || [])
        row.classList.toggle("here", row.dataset.text === String(answer.texts[this.which]));
    };
    this.which = 0;
    this.turn(0);
    return el(
      "div",
      {},
      el("div", { class: "titles" }, el("h2", {}, kept > 1 ? "Completions" : "Completion"), counter, kept > 1 ? el("span", { class: "steps" }, step(-1, "‹", "text before (h)"), step(1, "›", "next text (l)")) : null),
      answer.leftOut && kept ? el("p", { class: "note" }, `There was no room for the texts of ${many(answer.leftOut, "sample")}.`) : null,
      place,
      this.judged(block, answer),
      el("h2", {}, "Samples"),
      this.samples(block, answer),
    );
  }

  // What was executed or compared, where that is not the completion itself.
  judged(block, answer) {
    if (answer.judged === WITH_PROMPT) return el("p", { class: "facts judged" }, "Judged: the prompt with this text after it.");
    const text = judgedOf(block, answer);
    const line = judgedLine(block, answer);
    if (line) return el("p", { class: "form judged" }, "Judged: ", el("code", {}, line));
    return text ? [el("h2", {}, "What of it was judged"), el("div", { class: "judged" }, textBox(text, (t) => parts(t, languageOfRun(this.head)), "what was judged"))] : null;
  }

  samples(block, answer) {
    const tokens = block.tokens;
    const body = el("tbody", {});
    const line = (i) => {
      const which = answer.texts.indexOf(block.text[i]);
      const open = el("button", { type: "button", class: "plain" }, which < 0 ? "–" : `text ${number(which + 1)}`);
      if (which >= 0) open.addEventListener("click", () => this.turn(0, which));
      else open.disabled = true;
      const end = ENDS[block.ends[i]];
      return el(
        "tr",
        { "data-text": String(block.text[i]) },
        el("td", {}, number(block.seeds[i])),
        el("td", { class: end === "stop" ? "" : "warning" }, end),
        tokens ? el("td", {}, tokens[i] === null ? "–" : number(tokens[i])) : null,
        el("td", {}, open),
      );
    };
    const fill = (from, to) => {
      for (let i = from; i < to; i++) body.append(line(i));
    };
    const first = Math.min(answer.stop, answer.start + FIRST_SAMPLES);
    fill(answer.start, first);
    const more = el("button", { type: "button", class: "more" }, `show all ${number(answer.samples)} samples`);
    more.addEventListener("click", () => {
      fill(first, answer.stop);
      more.remove();
    });
    const titles = ["Seed", "Ended by", tokens ? "Tokens" : null, "Text"].map((t) => t && el("th", { scope: "col" }, t));
    return el("div", {}, el("table", { class: "samples" }, el("thead", {}, el("tr", {}, titles)), body), first < answer.stop ? more : null);
  }

  difference(first, second) {
    const { block, problem } = this;
    const named = (answer, kind) =>
      el("a", { class: `side ${kind}`, href: link(problem.id, answer.key) }, kind === "removed" ? "− " : "+ ", `answer ${number(answer.rank + 1)} `, chip(endOf(answer)), ` ${many(answer.samples, "sample")}`);
    return el(
      "div",
      {},
      this.back(),
      el("div", { class: "titles" }, el("h2", {}, "Difference")),
      el("p", { class: "sides" }, named(first, "removed"), named(second, "added")),
      first.texts.length && second.texts.length
        ? diffBox(textOf(block, first), textOf(block, second))
        : el("p", { class: "note" }, "There was no room for the text of one of them."),
      el("p", { class: "facts" }, "The most frequent completion of each."),
    );
  }

  makeBase(answer) {
    this.base = answer;
    this.list.refresh();
    this.go(answer.key, "");
  }

  openDiff() {
    if (!this.shown || !this.base) return;
    const other = this.base === this.shown ? this.block.answers.find((a) => a !== this.shown) : this.base;
    if (other) location.hash = link(this.problem.id, `${other.key}..${this.shown.key}`);
  }

  move(by) {
    const at = this.shown ? this.order.indexOf(this.shown.rank) : -1;
    const to = this.order[Math.max(0, Math.min(this.order.length - 1, at + by))];
    if (to === undefined) return;
    const hash = link(this.problem.id, at + by < 0 ? QUESTION : this.block.answers[to].key);
    this.app.replace(hash);
  }
}

const isSuspect = (answer) => answer.by.some((verdict) => verdict && verdict[3] && verdict[3].length);
const saysOf = (answer) => `${answer.form} ${answer.by.map((v) => (v ? v[2] : "")).join(" ")}`.toLowerCase();

function isDisputed(answer) {
  const outcomes = answer.by.filter((v) => v && v[0] !== UNDECIDED).map((verdict) => verdict[0] === "passed");
  return new Set(outcomes).size > 1;
}

// What others are compared with at first: the most frequent pass, or the most frequent answer.
function baseOf(block) {
  return block.answers.find((answer) => endOf(answer) === "passed") || block.answers[0] || null;
}
