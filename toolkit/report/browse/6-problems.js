// The table of all problems.

class ProblemsView {
  constructor(head, problems) {
    this.head = head;
    this.problems = problems;
    this.order = problems.map((_, i) => i);
    this.sort = "order";
    this.descending = false;
    problems.forEach((problem, i) => {
      problem.index = i;
      problem.search = `${problem.id}\n${problem.hint}`.toLowerCase();
    });
    this.kinds = totals(problems);
    this.list = new VirtualList("problems", "No problem is like that.", (i) => this.row(this.order[i]));
    this.search = el("input", { type: "search", placeholder: "Search name or prompt", "aria-label": "search" });
    this.search.addEventListener("input", () => this.arrange());
    this.filter = this.filterSelect();
    this.found = el("span", { class: "found" });
    this.header = el("div", { class: "header", role: "group", "aria-label": "sort by" });
    this.node = el(
      "main",
      { class: "problems" },
      this.summary(),
      el("div", { class: "tools" }, this.search, this.filter, this.found),
      this.header,
      this.list.box,
    );
    const columns = 1 + this.columns().length;
    this.node.dataset.columns = String(columns);
    this.node.classList.toggle("beside", head.judges.length > 1);
    this.arrange();
  }

  summary() {
    const { head, problems } = this;
    const n = problems.reduce((sum, p) => sum + p.n, 0);
    const solved = problems.filter((p) => p.c).length;
    const facts = [
      many(problems.length, "problem"),
      many(head.samples, "sample"),
      `${number(solved)} solved`,
    ];
    const errors = problems.reduce((sum, p) => sum + undecided(p), 0);
    if (errors) facts.push(`${number(errors)} that the judge could not decide`);
    if (n + errors < head.samples && !head.adaptive) facts.push(`${number(head.samples - n - errors)} not judged`);
    const judges = head.judges.map((judge, i) => (i ? `${judge.name}: ${judge.line}` : judge.line));
    const legend = [...this.kinds].map(([end, count]) => {
      const button = el("button", { type: "button", class: "key", title: `${number(count)} samples` });
      add(button, [el("i", { class: `k-${end}` }), words(end), " ", el("b", {}, share(count, head.samples))]);
      button.addEventListener("click", () => this.choose(`kind:${end}`));
      return button;
    });
    return el(
      "header",
      {},
      el("h1", {}, oneLine(head.title)),
      el("p", { class: "facts" }, facts.join(" · ")),
      el("p", { class: "judges" }, "Judged by ", judges.join("; ")),
      this.leftOut(),
      el("div", { class: "legend" }, legend),
    );
  }

  leftOut() {
    const said = [];
    if (this.head.most_answers)
      said.push(`This page keeps the ${this.head.most_answers} most frequent answers of each problem; each problem says what it left out.`);
    if (this.head.texts_left_out)
      said.push(`There was no room for ${many(this.head.texts_left_out, "completion")}; their samples are listed without a text.`);
    if (this.head.other_judges.length)
      said.push(`No sample has a verdict of this judge, but of: ${this.head.other_judges.join("; ")}.`);
    return said.length ? el("p", { class: "note" }, said.join(" ")) : null;
  }

  filterSelect() {
    const option = (value, text) => el("option", { value }, text);
    const kinds = [...this.kinds.keys()].filter((end) => end !== "passed");
    const select = el(
      "select",
      { "aria-label": "filter" },
      option("", "All problems"),
      option("never", "Never solved"),
      option("sometimes", "Solved sometimes"),
      option("always", "Always solved"),
      option("suspect", "With suspect passes"),
      option("unjudged", "With samples not judged"),
      option("cut", "With samples cut at max_tokens"),
      this.head.judges.length > 1 ? option("disagree", "Judges count differently") : null,
      kinds.map((end) => option(`kind:${end}`, `With ${words(end)}`)),
    );
    if (this.kinds.has("passed")) select.append(option("kind:passed", "With a pass"));
    select.addEventListener("change", () => this.arrange());
    return select;
  }

  choose(value) {
    this.filter.value = this.filter.value === value ? "" : value;
    this.arrange();
  }

  columns() {
    const beside = this.head.judges.slice(1).map((judge, i) => ({
      name: `beside${i}`,
      title: judge.name,
      class: "beside",
      value: (p) => (p.beside[i][0] ? p.beside[i][1] / p.beside[i][0] : -1),
      cell: (p) => [share(p.beside[i][1], p.beside[i][0])],
    }));
    return [
      {
        name: "rate",
        title: "Pass rate",
        class: "rate",
        value: (p) => (p.n ? p.c / p.n : -1),
        cell: (p) => [bar(p.c, p.n, "k-passed"), el("b", {}, share(p.c, p.n))],
      },
      ...beside,
      { name: "n", title: "Passes / n", class: "n", value: (p) => p.n, cell: (p) => [`${number(p.c)} / ${number(p.n)}`] },
      { name: "answers", title: "Answers", class: "answers", value: (p) => p.answers, cell: (p) => [number(p.answers)] },
      { name: "failed", title: "Failures", class: "kinds", value: (p) => p.n - p.c, cell: (p) => [kindsBar(p)] },
      {
        name: "tokens",
        title: "Tokens",
        class: "tokens",
        value: (p) => p.tokens ?? -1,
        cell: (p) => [p.tokens === null ? "–" : number(Math.round(p.tokens))],
      },
      { name: "ends", title: "Cut", class: "ends", value: (p) => p.ends[1] / (p.samples || 1), cell: (p) => [endsCell(p)] },
    ];
  }

  arrange() {
    const query = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = this.filter.value;
    this.order = this.problems
      .filter((p) => query.every((word) => p.search.includes(word)) && passes(p, chosen))
      .map((p) => p.index);
    const column = this.columns().find(({ name }) => name === this.sort);
    const sign = this.descending ? -1 : 1;
    if (column) {
      const value = (i) => column.value(this.problems[i]);
      this.order.sort((a, b) => sign * (value(a) - value(b)) || a - b);
    } else if (this.descending) this.order.reverse();
    this.found.textContent = `${number(this.order.length)} of ${number(this.problems.length)}`;
    this.heading();
    this.list.box.scrollTop = 0;
    this.list.show(this.order.length, this.order.length ? 0 : -1);
  }

  heading() {
    const cells = [{ name: "order", title: "Problem", class: "name" }, ...this.columns()];
    this.header.replaceChildren(
      ...cells.map((cell) => {
        const here = cell.name === this.sort;
        const arrow = here ? (this.descending ? " ↓" : " ↑") : "";
        const button = el("button", { type: "button", class: cell.class, "data-sort": cell.name, "aria-pressed": String(here) });
        add(button, [oneLine(cell.title, 30), arrow]);
        button.addEventListener("click", () => this.sortBy(cell.name));
        return button;
      }),
    );
  }

  sortBy(name) {
    this.descending = this.sort === name ? !this.descending : name !== "order" && name !== "rate";
    this.sort = name;
    this.arrange();
  }

  row(index) {
    const problem = this.problems[index];
    const name = el("span", { class: "name" }, el("b", {}, oneLine(problem.id)), el("small", {}, oneLine(problem.hint, 120)));
    const cells = this.columns().map((column) => el("span", { class: column.class }, column.cell(problem)));
    return el("a", { href: link(problem.id), role: "listitem" }, name, cells);
  }

  open() {
    const index = this.order[this.list.selected];
    if (index !== undefined) location.hash = link(this.problems[index].id);
  }
}

function totals(problems) {
  const kinds = new Map();
  const count = (end, number) => number && kinds.set(end, (kinds.get(end) || 0) + number);
  for (const problem of problems) {
    count("passed", problem.c);
    for (const [end, number] of Object.entries(problem.kinds)) count(end, number);
  }
  return new Map([...kinds].sort((a, b) => (b[0] === "passed") - (a[0] === "passed") || b[1] - a[1]));
}

function passes(p, chosen) {
  if (chosen.startsWith("kind:")) {
    const end = chosen.slice(5);
    return end === "passed" ? p.c > 0 : Boolean(p.kinds[end]);
  }
  switch (chosen) {
    case "never":
      return p.n > 0 && p.c === 0;
    case "sometimes":
      return p.c > 0 && p.c < p.n;
    case "always":
      return p.n > 0 && p.c === p.n;
    case "suspect":
      return p.suspect > 0;
    case "unjudged":
      return p.samples > p.n;
    case "cut":
      return p.ends[1] > 0;
    case "disagree":
      return p.beside.some(([n, c]) => n && c * p.n !== p.c * n);
    default:
      return true;
  }
}

function kindsBar(problem) {
  const entries = Object.entries(problem.kinds).sort((a, b) => b[1] - a[1]);
  const whole = Math.max(problem.samples, 1);
  const parts = entries.map(([end, count]) => {
    const part = el("i", { class: `k-${end}` });
    part.style.width = `${(100 * count) / whole}%`;
    return part;
  });
  const said = entries.map(([end, count]) => `${words(end)} ${number(count)}`).join(", ");
  return el("span", { class: "bar", title: said || "no failure", role: "img", "aria-label": said || "no failure" }, parts);
}

function endsCell(problem) {
  const [stop, length, abort] = problem.ends;
  const title = `stop ${number(stop)}, length ${number(length)}, abort ${number(abort)}`;
  return el("span", { title }, length ? share(length, problem.samples) : "0 %");
}
