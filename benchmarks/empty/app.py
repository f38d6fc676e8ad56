"""The baseline of start and memory: the least that Gradio can serve, with our way of serving it."""

import gradio as gr

if __name__ == "__main__":
    with gr.Blocks() as blocks:
        gr.Markdown("# Empty")
    blocks.launch(ssr_mode=False)
