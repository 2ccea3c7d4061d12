"""A window that shows a picture while it is painted, and can stop it: python window.py

Tk may be called from its own thread alone. So a second thread paints and puts what it has into a queue, and the window
looks into the queue 25 times a second.
"""

import queue
import threading
import tkinter as tk
from tkinter import ttk

from PIL import Image, ImageTk

import pleinair

LOOK_MS = 40
SIZE = 512  # pixels on the screen


class Window(tk.Tk):
    """A line for the prompt, two buttons, a picture and a line that says what happens."""

    def __init__(self, pipe: pleinair.Pipeline) -> None:
        super().__init__()
        self.title("pleinair")
        self.pipe = pipe
        self.events: queue.Queue[tuple[str, Image.Image | None, bool]] = queue.Queue()
        self.stop = threading.Event()
        self.prompt = tk.StringVar(value="a red house on a snowy hill at night")
        self.said = tk.StringVar()
        ttk.Entry(self, textvariable=self.prompt).pack(fill="x")
        self.paint = ttk.Button(self, text="Paint", command=self.begin)
        self.cancel = ttk.Button(self, text="Cancel", command=self.stop.set, state="disabled")
        self.shown = ttk.Label(self)
        for part in (self.paint, self.cancel, self.shown, ttk.Label(self, textvariable=self.said)):
            part.pack()
        self.show(Image.new("RGB", (SIZE, SIZE), "lightgrey"))
        self.protocol("WM_DELETE_WINDOW", self.leave)
        self.after(LOOK_MS, self.look)

    def begin(self) -> None:
        """Start painting what the line says."""
        self.stop.clear()
        self.busy(True)
        self.said.set("loading ...")
        threading.Thread(target=self.work, args=[self.prompt.get()], daemon=True).start()

    def work(self, prompt: str) -> None:
        """Paint; this is the other thread, which touches nothing but the queue."""
        try:
            for frame in self.pipe.stream(prompt, stop=self.stop.is_set):
                if frame.result:
                    self.events.put((f"seed {frame.seeds[0]}", frame.result.images[0], True))
                else:
                    self.events.put((f"step {frame.step} of {frame.steps}", frame.rough()[0], False))
        except pleinair.PleinairError as error:  # Cancelled is one of them
            self.events.put((str(error), None, True))

    def look(self) -> None:
        """Show what came since the last look."""
        while not self.events.empty():
            words, picture, last = self.events.get()
            self.said.set(words)
            if picture:
                self.show(picture.resize((SIZE, SIZE)))
            if last:
                self.busy(False)
        self.after(LOOK_MS, self.look)

    def show(self, picture: Image.Image) -> None:
        """Show a picture; Tk forgets one that nobody else holds."""
        self.picture = ImageTk.PhotoImage(picture)
        self.shown.configure(image=self.picture)

    def busy(self, busy: bool) -> None:
        """Which of the buttons can be pressed."""
        self.paint.configure(state="disabled" if busy else "normal")
        self.cancel.configure(state="normal" if busy else "disabled")

    def leave(self) -> None:
        """Stop painting and close the window."""
        self.stop.set()
        self.destroy()


if __name__ == "__main__":
    Window(pleinair.load()).mainloop()
