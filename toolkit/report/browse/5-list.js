// A list of which only the rows in view are elements, however many there are.

const OVERSCAN = 10;
const MOST_PRINTED = 1000;

class VirtualList {
  // render(i): the element of row i. empty: what is shown where there is no row. The height of a
  // row is the style's variable --row.
  constructor(label, empty, render) {
    this.render = render;
    this.empty = empty;
    this.count = 0;
    this.selected = -1;
    this.rows = new Map();
    this.inner = el("div", { class: "rows" });
    this.box = el("div", { class: "list", tabindex: "0", role: "list", "aria-label": label }, this.inner);
    this.box.addEventListener("scroll", () => this.ask(), { passive: true });
    new ResizeObserver(() => this.refresh()).observe(this.box);
  }

  show(count, selected = -1) {
    this.count = count;
    this.selected = selected;
    this.refresh();
    if (selected >= 0) this.reveal(selected);
  }

  refresh() {
    this.rows.clear();
    this.inner.replaceChildren();
    if (!this.count) this.inner.append(el("p", { class: "empty" }, this.empty));
    this.height = parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) || 36;
    this.inner.style.height = this.count ? `${this.count * this.height}px` : "auto";
    // What stands above the list leaves the same room at its right as the list's scroll bar.
    const bar = this.box.offsetWidth - this.box.clientWidth;
    this.box.parentNode?.style.setProperty("--bar", `${bar}px`);
    this.draw();
  }

  ask() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.draw();
    });
  }

  // On paper nobody scrolls: all rows are elements, but for those of a very long list.
  print(printing) {
    this.printing = printing;
    this.refresh();
    const left = this.count - MOST_PRINTED;
    if (printing && left > 0) this.inner.append(el("p", { class: "note" }, `and ${number(left)} more`));
  }

  draw() {
    if (this.printing) {
      this.place(0, Math.min(this.count, MOST_PRINTED));
      return;
    }
    const top = this.box.scrollTop;
    const first = Math.max(0, Math.floor(top / this.height) - OVERSCAN);
    this.place(first, Math.min(this.count, Math.ceil((top + this.box.clientHeight) / this.height) + OVERSCAN));
  }

  place(first, last) {
    for (const [i, row] of this.rows) {
      if (i < first || i >= last) {
        row.remove();
        this.rows.delete(i);
      }
    }
    const fresh = document.createDocumentFragment();
    for (let i = first; i < last; i++) {
      if (this.rows.has(i)) continue;
      const row = this.render(i);
      row.classList.add("row");
      row.classList.toggle("selected", i === this.selected);
      row.style.transform = `translateY(${i * this.height}px)`;
      this.rows.set(i, row);
      fresh.append(row);
    }
    this.inner.append(fresh);
  }

  select(i) {
    if (!this.count) return;
    const now = Math.max(0, Math.min(this.count - 1, i));
    this.rows.get(this.selected)?.classList.remove("selected");
    this.selected = now;
    this.reveal(now);
    this.rows.get(now)?.classList.add("selected");
  }

  reveal(i) {
    const top = i * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    const bottom = top + this.height - this.box.clientHeight;
    if (bottom > this.box.scrollTop) this.box.scrollTop = bottom;
    this.draw();
  }
}
