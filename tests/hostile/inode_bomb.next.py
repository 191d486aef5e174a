    with open("one", "w") as file:
        file.write("fits")
    return x + y
